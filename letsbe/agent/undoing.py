"""``letsbe undo``: the putting back of a run as a run of its own, with locks, journal and outcome."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from letsbe import __version__
from letsbe.agent import hold, policy
from letsbe.agent.caller import Caller
from letsbe.agent.config import Config, Origin
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.undo import Snapshots, Undo, Undone
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY
from letsbe.host.files import Files
from letsbe.protocol import ErrorInfo, Outcome, instant, new_id

TYPE = "UNDO"


def undo_run(
    config: Config, journal: Journal, run: Run, *, origin: Origin, caller: Caller, force: bool, check: bool
) -> Outcome:
    """Put back the files that ``run`` changed; a file changed since is left alone unless ``force``."""
    started = time.time()
    if run.type in EXECUTOR_REGISTRY:
        policy.check(config, origin, run.type)
    if run.state in ("received", "started"):
        raise LetsbeError("still_running", f"run {run.id} is {run.state}", hint="Wait for its end, or cancel it.")
    paths = {change.path for change in journal.changes(run.id) if not change.undone}
    undo_id = new_id()
    with Locks(config.state_dir).hold({f"file:{path}" for path in paths}, holder_now(TYPE, undo_id)):
        if check:
            undone = Undo(config.state_dir, journal, Files(config.roots, check=True)).put_back(
                run.id, force=force, mark=False
            )
        else:
            journal.start(_row(undo_id, run, origin, caller))
            files = Files(config.roots, Snapshots(config.state_dir, journal, undo_id))
            undone = Undo(config.state_dir, journal, files).put_back(run.id, force=force)
        outcome = hold.warned(journal, _outcome(undo_id, run, undone, started, check))
        if not check:
            journal.finish(undo_id, outcome)
    return outcome


def _row(undo_id: str, run: Run, origin: Origin, caller: Caller) -> Run:
    return Run(
        id=undo_id,
        origin=origin,
        caller=msgspec.json.encode(caller).decode(),
        type=TYPE,
        payload=msgspec.json.encode({"run": run.id}).decode(),
        state="started",
    )


def _outcome(undo_id: str, run: Run, undone: Undone, started: float, check: bool) -> Outcome:
    error = None
    if undone.problems:
        error = ErrorInfo(
            code="not_put_back",
            message="; ".join(undone.problems),
            hint="What is listed under restored was put back; look at the rest by hand, or use --force.",
        )
    data: dict[str, Any] = {"run": run.id, "type": run.type, **msgspec.to_builtins(undone)}
    return Outcome(
        task_id=None if check else undo_id,
        type=TYPE,
        status="failed" if error else "succeeded",
        success=error is None,
        changed=bool(undone.restored),
        data=data,
        error=error,
        check=check,
        started_at=instant(started),
        duration_ms=int((time.time() - started) * 1000),
        agent_version=__version__,
    )
