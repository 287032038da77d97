"""The end of a run: its outcome, true to what it left on disk, journaled before anything can disturb that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from letsbe.agent.config import Config
    from letsbe.agent.journal import Journal

#: Errors of runs that were torn out of their code: they did not come to say what they had changed.
_TORN = frozenset({"cancelled", "interrupted", "timed_out", "internal"})

_STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})


def finish(config: Config, journal: Journal, run_id: str, outcome: Outcome) -> Outcome:
    """Journal an outcome; what was done was done, so a journal that can't be written is a warning with the outcome."""
    with _undisturbed():
        if outcome.error is not None and not outcome.changed:
            outcome = _as_the_files_tell(config, journal, run_id, outcome)
        elif outcome.task_id is not None:
            outcome = _with_earlier_runs(config, journal, run_id, outcome)
        try:
            journal.finish(run_id, outcome)
        except LetsbeError as error:
            outcome = _warned(outcome, f"not journaled: {error.message}")
    return outcome


def _as_the_files_tell(config: Config, journal: Journal, run_id: str, outcome: Outcome) -> Outcome:
    """Of a run that failed: also a write that was refused may have come through, when only its last sync failed."""
    from letsbe.agent.undo import Undo
    from letsbe.host.files import Files

    undo = Undo(config.state_dir, journal, Files(config.roots))
    try:
        found = undo.diagnose([change for change in journal.changes(run_id) if not change.undone])
    except (LetsbeError, OSError) as error:
        return _warned(outcome, f"what it changed could not be looked at: {error}")
    torn = outcome.error is not None and outcome.error.code in _TORN
    return msgspec.structs.replace(_warned(outcome, *(found.findings if torn else found.new)), changed=found.changed)


def _with_earlier_runs(config: Config, journal: Journal, run_id: str, outcome: Outcome) -> Outcome:
    """Of a task that ran again after a crash: what the crashed run changed, the task has changed."""
    from letsbe.agent.undo import Undo
    from letsbe.host.files import Files

    try:
        run = journal.get(run_id)
        if run is None or not run.reruns:
            return outcome
        outcome = _warned(
            outcome,
            f"run again: its process had ended without an outcome, {run.reruns} time{'' if run.reruns == 1 else 's'}",
        )
        changed = outcome.changed or Undo(config.state_dir, journal, Files(config.roots)).has_changed(run_id)
    except (LetsbeError, OSError) as error:
        return _warned(outcome, f"what its crashed run changed could not be looked at: {error}")
    return msgspec.structs.replace(outcome, changed=changed)


def _warned(outcome: Outcome, *warnings: str) -> Outcome:
    return msgspec.structs.replace(outcome, warnings=[*outcome.warnings, *warnings])


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A cancel that comes when all is done must not turn what was done into a cancelled run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
