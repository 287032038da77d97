"""What every command does first: configuration and logging."""

from __future__ import annotations

from letsbe.agent import log
from letsbe.agent.config import Config, load
from letsbe.agent.owner import act_as_owner
from letsbe.agent.permissions import refuse_writable_program


def start(config_file: str | None, verbose: int) -> Config:
    """Load the configuration, become the agent's user if that is not root, and point the log where it says."""
    refuse_writable_program()
    config = load(config_file)
    act_as_owner(config.state_dir)
    log.configure(file=config.log.file, level=config.log.level, verbose=verbose)
    return config
