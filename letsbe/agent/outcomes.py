"""Outcomes: what a request is, and what its run came to, redacted."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from letsbe import __version__
from letsbe.agent import payloads
from letsbe.errors import LetsbeError, Terminated
from letsbe.executors.base import ExecutionResult
from letsbe.protocol import ErrorInfo, Outcome, instant
from letsbe.tools.redaction import Redactor


class Request(Struct, kw_only=True):
    """What a caller asks for. ``payload`` is JSON values; ``task_id`` is the orchestrator's, None otherwise."""

    type: str
    payload: Any
    task_id: str | None = None
    schema_version: int | None = None
    check: bool = False
    diff: bool = False
    timeout_s: float | None = None
    lock_wait_s: float = 0.0


class Stopwatch:
    """When a run began, and the outcome that it ends in."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self._started = time.monotonic()

    def outcome(
        self,
        request: Request,
        redactor: Redactor,
        *,
        result: ExecutionResult[Any] | None = None,
        error: LetsbeError | None = None,
    ) -> Outcome:
        """The outcome of a result or of an error, redacted."""
        error = error or (result.error if result else None)
        data = msgspec.to_builtins(result.data, enc_hook=payloads.encode_hook) if result else {}
        return Outcome(
            task_id=request.task_id,
            type=request.type,
            status=error.status if error else "succeeded",  # type: ignore[arg-type]
            success=error is None,
            changed=bool(result and result.changed),
            data=redactor.data(data),
            error=_error_info(error, redactor) if error else None,
            warnings=redactor.data(result.warnings) if result else [],
            check=request.check,
            started_at=instant(self._started_at),
            duration_ms=int((time.monotonic() - self._started) * 1000),
            agent_version=__version__,
        )

    def refusal(self, task_id: str, task_type: str, error: LetsbeError) -> Outcome:
        """The outcome of a task that never ran."""
        return self.outcome(Request(type=task_type, payload=None, task_id=task_id), Redactor(), error=error)


def stopped(stop: BaseException) -> LetsbeError:
    """The error of a run that a signal ended."""
    if isinstance(stop, Terminated):
        return LetsbeError("cancelled", str(stop) or "ended by SIGTERM", hint="`letsbe history` shows how far it came.")
    return LetsbeError("interrupted", "interrupted by Ctrl-C", hint="`letsbe history` shows how far it came.")


def internal_error(error: Exception, task_type: str) -> LetsbeError:
    """An error that nobody foresaw; its traceback goes to the log only."""
    from letsbe.agent.log import logger

    logger().error("internal error", task_type=task_type, exc_info=error)
    return LetsbeError(
        "internal",
        f"unexpected {type(error).__name__}",
        hint="The log has the traceback; it belongs into a bug report.",
    )


def log_outcome(outcome: Outcome, origin: str) -> None:
    """A line about a run that may have changed something."""
    from letsbe.agent.log import logger

    logger().info(
        "run ended" if outcome.success else "run failed",
        task_id=outcome.task_id,
        type=outcome.type,
        origin=origin,
        status=outcome.status,
        changed=outcome.changed,
        ms=outcome.duration_ms,
        code=outcome.error.code if outcome.error else None,
    )


def _error_info(error: LetsbeError, redactor: Redactor) -> ErrorInfo:
    return ErrorInfo(
        code=error.code,
        message=redactor.prose(error.message),
        hint=redactor.prose(error.hint),
        details=redactor.data(error.details),
    )
