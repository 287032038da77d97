"""What every run that opens the journal does first: settle crashed runs, sweep, and once a day drop what is old."""

from __future__ import annotations

import os
import time
from collections.abc import Set

from letsbe import frozen
from letsbe.agent.config import Config
from letsbe.agent.journal import Journal
from letsbe.agent.log import logger

EVERY_S = 86_400
_FACT = "tidied_at"


def tidy(config: Config, journal: Journal) -> None:
    """Settle crashed runs, sweep unpack directories; daily journal, snapshots, lock files and temporary files."""
    frozen.sweep_orphans()
    settle_crashed(config, journal)
    last = float(journal.fact(_FACT) or 0)
    if 0 <= time.time() - last < EVERY_S:
        return
    journal.remember(_FACT, str(time.time()))
    try:
        _tidy_daily(config, journal)
    except OSError as error:  # another process sweeps as well, or the disk fails: tomorrow is soon enough
        logger().warning("not all that is old was removed", path=error.filename, reason=error.strerror)


def settle_crashed(config: Config, journal: Journal, *, held: Set[str] = frozenset()) -> None:
    """Give runs that are ``started`` without their process their outcome, see :func:`letsbe.agent.recovery.recover`."""
    if journal.in_state("started", 1):
        from letsbe.agent.recovery import recover

        recover(config, journal, held=held)


def _tidy_daily(config: Config, journal: Journal) -> None:
    from letsbe.agent import rollback_record, undo
    from letsbe.agent.inbox import Inbox
    from letsbe.agent.locks import Locks

    journal.prune()
    running = {run.id for run in journal.in_state("started")}
    undo.prune(config.state_dir, kept=running)
    rollback_record.sweep(config.state_dir, kept=running)
    Locks(config.state_dir).sweep()
    _remove_stale_temporaries(config.state_dir)
    inbox = Inbox(config.state_dir)
    # A task that a poll is just taking up stands in the inbox before it stands in the journal.
    for task_id in set(inbox.task_ids(older_than_s=EVERY_S)) - {run.id for run in journal.under_lease()}:
        inbox.drop(task_id)


def _remove_stale_temporaries(state_dir: str) -> None:
    """What a crash left of the agent's own small files."""
    for directory in (state_dir, os.path.join(state_dir, "inbox"), os.path.join(state_dir, "rollback")):
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".tmp")]
        except FileNotFoundError:
            continue
        for name in names:
            path = os.path.join(directory, name)
            if time.time() - os.stat(path).st_mtime > EVERY_S:
                os.unlink(path)
