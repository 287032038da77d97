"""Checks of how the agent stands with its orchestrator: identity, locks, the last poll."""

from __future__ import annotations

import os
import time

from letsbe.agent import breaker, identity, last_poll
from letsbe.agent.checkup.finding import Finding, fail, ok, warn
from letsbe.agent.config import Config
from letsbe.agent.journal import Journal
from letsbe.agent.locks import Holder, Locks
from letsbe.agent.permissions import refuse_readable_by_others
from letsbe.protocol import epoch, instant

#: The exchange with the orchestrator takes seconds; a lock held for longer is stuck.
STUCK_S = 300.0
#: Polls come every minute.
SILENT_S = 300.0


def identity_of_agent(config: Config) -> list[Finding]:
    """Enrolled, or about to be."""
    url = config.orchestrator.url
    me = identity.load(config.state_dir)
    if me is not None and me.agent_token is not None:
        if url is not None and me.url != url:
            hint = f"If it did not move there: remove {identity.path(config.state_dir)} and enrol this machine anew."
            return [warn("identity", f"enrolled at {me.url}, while orchestrator.url is {url}", hint)]
        return [ok("identity", f"agent {me.agent_id}, enrolled")]
    if url is None:
        return [ok("identity", "not enrolled, and no orchestrator is set")]
    path = config.orchestrator.enrolment_token_file
    try:
        with open(path, "rb") as token:
            refuse_readable_by_others(path, os.fstat(token.fileno()))
    except FileNotFoundError:
        hint = f"On the orchestrator: letsbe-orchestrator enrol. Put the token into {path}, mode 0600."
        return [fail("identity", f"not enrolled, and {path} is not there", hint)]
    return [ok("identity", "not enrolled yet; the next poll will use the enrolment token")]


def locks(config: Config) -> list[Finding]:
    """Nobody holds the poll up."""
    held = Locks(config.state_dir)
    poll, work = held.holder("poll"), held.holder("work")
    findings = []
    if poll is not None and _held_s(poll) > STUCK_S:
        hint = f"Look at that process (ps {poll.pid}); ending it frees the lock."
        findings.append(warn("locks", f"poll is held by {_who(poll)}", hint))
    if work is not None and _held_s(work) > config.poll.budget_s + STUCK_S:
        hint = "`letsbe status` shows what it does; a task's own deadline ends it."
        findings.append(warn("locks", f"work is held by {_who(work)}", hint))
    if findings:
        return findings
    holders = [f"{name} by {_who(holder)}" for name, holder in (("poll", poll), ("work", work)) if holder]
    return [ok("locks", "; ".join(holders) or "free")]


def last_exchange(config: Config) -> list[Finding]:
    """The orchestrator answered a moment ago."""
    if config.orchestrator.url is None:
        return []
    at = last_poll.when(config.state_dir)
    trouble = _trouble(config)
    if at is None:
        observed = "the orchestrator has never answered"
        return [warn("last poll", f"{observed}{trouble}", "`letsbe poll --now -v` tries it now.")]
    age = time.time() - at
    observed = f"answered at {instant(at)}, {round(age)} s ago"
    if age > SILENT_S:
        return [warn("last poll", f"{observed}{trouble}", "`letsbe poll --now -v` tries it now.")]
    return [ok("last poll", observed)]


def _trouble(config: Config) -> str:
    if not os.path.exists(os.path.join(config.state_dir, "state.db")):
        return ""
    journal = Journal(config.state_dir)
    try:
        found = breaker.load(journal)
    finally:
        journal.close()
    return f"; failed {found.failures} times since: {found.reason}" if found.failures else ""


def _held_s(holder: Holder) -> float:
    try:
        return time.time() - epoch(holder.since)
    except ValueError:
        return 0.0


def _who(holder: Holder) -> str:
    task = f", task {holder.task_id}" if holder.task_id else ""
    return f"{holder.type} (pid {holder.pid}{task}) since {holder.since}"
