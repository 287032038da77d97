"""The outbox: outcomes that the orchestrator does not have yet, oldest first, a few at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from letsbe.agent.client import Client, RefusedByOrchestrator, exchange
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.log import logger
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome

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
        outcome = run.outcome or b""
        if len(outcome) > self._limit:
            outcome = self._shrunk(run, self._limit)
        try:
            self._client.report(run.id, run.attempt_id or "", outcome)
        except RefusedByOrchestrator as error:
            limit = error.problem.limit or len(outcome) // 2  # a load balancer does not say its limit
            if error.http_status == 413 and len(outcome) > limit:
                self._client.report(run.id, run.attempt_id or "", self._shrunk(run, limit))
            elif error.is_final:
                self._journal.park(run.id, error.message)
                logger().error("outcome parked: it will never be taken", task_id=run.id, reason=error.message)
                return 0
            else:
                raise
        from letsbe.agent.inbox import Inbox

        # Still there when a crash came between the task's end and its removal.
        Inbox(self._journal.state_dir).drop(run.id)
        self._journal.acknowledge(run.id)
        return 1

    def _shrunk(self, run: Run, limit: int) -> bytes:
        """The outcome cut to ``limit`` bytes, journaled before it is sent so that repetitions send the same bytes."""
        outcome = shrink(decode(run.outcome or b"", Outcome), limit)
        self._journal.replace_outcome(run.id, outcome)
        return outcome


def shrink(outcome: Outcome, limit: int) -> bytes:
    """An outcome in at most ``limit`` bytes of JSON: long texts keep their tails, then the data goes altogether."""
    warnings = [*outcome.warnings[:10], "data was cut to what the orchestrator takes"]
    for longest in (65_536, 8_192, 1_024, 128):
        cut = msgspec.structs.replace(outcome, data=_tails(outcome.data, longest), warnings=warnings)
        encoded = msgspec.json.encode(cut)
        if len(encoded) <= limit:
            return encoded
    return msgspec.json.encode(msgspec.structs.replace(outcome, data={"truncated": True}, warnings=warnings[-1:]))


def _tails(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else f"[{len(value) - longest} characters cut]{value[-longest:]}"
    if isinstance(value, dict):
        return {key: _tails(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        kept = value[-max(10, longest // 64) :]
        return [_tails(item, longest) for item in kept]
    return value
