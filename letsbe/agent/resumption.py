"""After a crash in a rollback: the run is gone through once more, and what was not put back yet is put back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Set
from contextlib import ExitStack
from typing import cast

import msgspec
from msgspec import Struct

from letsbe.agent import key_set, trust
from letsbe.agent.caller import Caller
from letsbe.agent.config import Config, Origin
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.log import logger
from letsbe.agent.outcomes import Request, internal_error
from letsbe.agent.rollback_record import Begun, RollbackRecord
from letsbe.agent.runner import Runner
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import ErrorInfo, Outcome, instant
from letsbe.tools.redaction import Redactor


class Resumption(Struct, kw_only=True):
    """A run whose rollback goes on here: its row and its locks are this process's."""

    run: Run
    begun: Begun
    record: RollbackRecord
    held: set[str]


def claim(
    config: Config, journal: Journal, run: Run, found: tuple[Begun, RollbackRecord], held: Set[str], locked: ExitStack
) -> Resumption | None:
    """Take a run over with its locks, until ``locked`` ends; None when one of them is not free.

    ``held``: the locks that this process has already. While it has the run, others take it for one that runs.
    """
    begun, record = found
    try:
        locked.enter_context(Locks(config.state_dir).hold(set(begun.locks) - held, holder_now(run.type, run.id)))
    except LetsbeError as busy:
        if busy.code != "busy":
            raise
        logger().info("rollback waits", task_id=run.id, reason=busy.message)
        return None
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
        # A cancel from another poll: what is rolled back is ended already, and it must not end this process.
        signal.signal(signal.SIGUSR1, lambda *_: None)
    journal.take_over(run.id)
    return Resumption(run=run, begun=begun, record=record, held={*begun.locks, *held})


def go_on(config: Config, journal: Journal, resumption: Resumption) -> tuple[Outcome, list[str]]:
    """The outcome of the whole run, and the files that were put back. Raises :class:`LetsbeError` when it can't be."""
    run, begun = resumption.run, resumption.begun
    logger().warning("rollback goes on after a crash", task_id=run.id, type=run.type, step=run.step)
    redactor = Redactor()
    for secret in begun.secrets:
        redactor.meet(secret)
    request = Request(type=begun.type, payload=begun.payload, task_id=run.id if run.attempt_id else None)
    try:
        outcome, restored = _runner(config, run).go_on(
            request, run.id, journal, resumption.record, redactor, resumption.held
        )
    except LetsbeError:
        raise
    except Exception as error:
        raise internal_error(error, run.type) from error
    return _told(run, outcome), restored


def _runner(config: Config, run: Run) -> Runner:
    """What the run's origin, and the keys that signed it, may do by now."""
    executors: list[str] = ["*"]
    paths: list[str] | None = None
    if run.origin == "orchestrator":
        believed = Inbox(config.state_dir).get(run.id)
        executors = []
        if believed is not None:
            keys, strict = key_set.trusted(config), config.orchestrator.require_signatures
            try:
                grant = trust.grant(believed, keys, require_signatures=strict)
                executors, paths = grant.executors, grant.paths
            except LetsbeError as untrusted:
                logger().warning("key no longer trusted", task_id=run.id, reason=untrusted.message)
    caller = decode(run.caller, Caller)
    return Runner(config, origin=cast("Origin", run.origin), caller=caller, executors=executors, paths=paths)


def _told(run: Run, outcome: Outcome) -> Outcome:
    """It is told as what it was, an interrupted run, with all that is known of it."""
    why = outcome.error.message if outcome.error else "a step failed"
    details = outcome.error.details if outcome.error else {}
    crashes = f", {run.reruns + 1} times" if run.reruns else ""
    left: list[str] = outcome.data.get("not_put_back", [])
    if left:
        end, hint = f"not put back: {'; '.join(left)}", f"`letsbe undo {run.id}` puts back the files that it changed."
    elif outcome.data.get("rolled_back"):
        end, hint = "all of it is put back now", "Nothing of it is left: submit it again when its cause is mended."
    else:
        end, hint = "the rollback steps have run to their end now", "`letsbe history` shows what they gave."
    return msgspec.structs.replace(
        outcome,
        task_id=run.id,
        status="interrupted",
        success=False,
        error=ErrorInfo(
            code="interrupted",
            message=f"its process (pid {run.pid}) ended{crashes} while it was rolled back: {end}; it had failed: {why}",
            hint=hint,
            details=details,
        ),
        started_at=instant(run.started_at or time.time()),
    )
