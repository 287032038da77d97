"""What surrounds an executor: configuration, policy, runner, journal, locks, poll, identity."""
