"""The outbox: outcomes that the orchestrator does not have yet, oldest first, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from letsbe.agent.client import Client, RefusedByOrchestrator, exchange
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.log import logger
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import ErrorInfo, Outcome

PER_POLL = 20


class Outbox:
    """Delivers finished tasks' outcomes."""

    def __init__(self, journal: Journal, client: Client, limit_bytes: int) -> None:
        self._journal = journal
        self._client = client
        self._limit = limit_bytes

    def deliver(self) -> int:
        """Deliver up to :data:`PER_POLL` outcomes; returns how many arrived. What fails stays for a later poll."""
        delivered = 0
        for run in self._journal.outbox(PER_POLL):
            try:
                delivered += self._deliver(run)
            except LetsbeError as error:
                logger().warning("outcome not delivered, kept", task_id=run.id, reason=error.message)
                if not isinstance(error, RefusedByOrchestrator) or error.is_general:
                    break
        return delivered

    def deliver_one(self, run_id: str) -> int:
        """Deliver one outcome; 1 when it arrived."""
        run = self._journal.get(run_id)
        if run is None or run.state != "finished":
            return 0
        try:
            with exchange():
                return self._deliver(run)
        except LetsbeError as error:
            logger().warning("outcome not delivered, kept", task_id=run.id, reason=error.message)
            return 0

    def _deliver(self, run: Run) -> int:
        try:
            self._send(run)
        except RefusedByOrchestrator as error:
            if not error.is_final:
                raise
            self._journal.park(run.id, error.message)
            logger().error("outcome parked: it will never be taken", task_id=run.id, reason=error.message)
            return 0
        from letsbe.agent.inbox import Inbox

        # Still there when a crash came between the task's end and its removal.
        Inbox(self._journal.state_dir).drop(run.id)
        self._journal.acknowledge(run.id)
        return 1

    def _send(self, run: Run) -> None:
        """Send an outcome; again, cut shorter, for as long as it is too large and can be cut."""
        outcome = run.outcome or b""
        if len(outcome) > self._limit:
            outcome = self._cut(run, outcome, self._limit)
        while True:
            try:
                return self._client.report(run.id, run.attempt_id or "", outcome)
            except RefusedByOrchestrator as error:
                limit = error.problem.limit or len(outcome) // 2  # a load balancer does not say its limit
                cut = self._cut(run, outcome, limit) if error.http_status == 413 else outcome
                if len(cut) == len(outcome):
                    raise
                outcome = cut

    def _cut(self, run: Run, outcome: bytes, limit: int) -> bytes:
        """The outcome of a run in at most ``limit`` bytes, or as few as it comes to; as it is if it gets no shorter.

        Journaled before it is sent, so that repetitions send the same bytes.
        """
        cut = shrink(decode(run.outcome or b"", Outcome), limit)
        if len(cut) >= len(outcome):
            return outcome
        self._journal.replace_outcome(run.id, cut)
        return cut


def shrink(outcome: Outcome, limit: int) -> bytes:
    """An outcome in at most ``limit`` bytes of JSON, or as few as it comes to.

    Long texts keep their tails, then the data goes altogether, then the error keeps the beginning of what it says.
    """
    encoded = b""
    for cut in _cuts(outcome):
        encoded = msgspec.json.encode(cut)
        if len(encoded) <= limit:
            break
    return encoded


def _cuts(outcome: Outcome) -> Iterator[Outcome]:
    warnings = [*outcome.warnings[:10], "data was cut to what the orchestrator takes"]
    for longest in (65_536, 8_192, 1_024, 128):
        yield msgspec.structs.replace(outcome, data=_tails(outcome.data, longest), warnings=warnings)
    bare = msgspec.structs.replace(outcome, data={"truncated": True}, warnings=warnings[-1:])
    yield bare
    if outcome.error is not None:
        for longest in (1_024, 256, 32):
            yield msgspec.structs.replace(bare, error=_head(outcome.error, longest))


def _head(error: ErrorInfo, longest: int) -> ErrorInfo:
    message, hint = (
        text if len(text) <= longest else f"{text[: longest - 3]}..." for text in (error.message, error.hint)
    )
    return ErrorInfo(code=error.code, message=message, hint=hint)


def _tails(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else f"[{len(value) - longest} characters cut]{value[-longest:]}"
    if isinstance(value, dict):
        return {key: _tails(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        kept = value[-max(10, longest // 64) :]
        return [_tails(item, longest) for item in kept]
    return value
