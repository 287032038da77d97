"""The intake: tasks that the orchestrator offered, journaled, believed, claimed, or cancelled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import msgspec

from letsbe.agent import hold, key_set, trust
from letsbe.agent.caller import Caller
from letsbe.agent.client import Client, RefusedByOrchestrator
from letsbe.agent.config import Config
from letsbe.agent.identity import Identity
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.log import bind, logger
from letsbe.agent.outbox import Outbox
from letsbe.agent.outcomes import Stopwatch
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome, TaskOffer, epoch


class Intake:
    """Takes up what one answer of the orchestrator brought."""

    def __init__(self, config: Config, journal: Journal, me: Identity) -> None:
        self.config = config
        self._journal = journal
        self._me = me
        self._inbox = Inbox(config.state_dir)
        self._held = hold.current(journal)

    def receive(self, offers: Iterable[TaskOffer], server_now: float) -> bool:
        """Journal offered tasks, before any is claimed; whether outcomes are owed again that had been delivered."""
        owed = False
        for offer in offers:
            bind(task_id=offer.task_id)
            known = self._journal.get(offer.task_id)
            if known is None:
                self._receive(offer, server_now)
            elif known.attempt_id != offer.attempt_id or known.state in ("acked", "parked"):
                logger().warning("task offered again, not run again", state=known.state)
                owed |= self._journal.offered_again(offer.task_id, offer.attempt_id)
        bind(task_id=None)
        return owed

    def _receive(self, offer: TaskOffer, server_now: float) -> None:
        """Journal an offered task; one that is not believed is finished at once, with the reason.

        What a hold keeps out is left with the orchestrator.
        """
        run = Run(
            id=offer.task_id,
            attempt_id=offer.attempt_id,
            origin="orchestrator",
            caller="{}",
            type="",
            payload="{}",
            state="received",
        )
        try:
            believed = trust.believe(
                offer.envelope,
                offered_as=offer.task_id,
                agent_id=self._me.agent_id,
                trusted_keys=key_set.trusted(self.config, self._me),
                require_signatures=self.config.orchestrator.require_signatures,
                server_now=server_now,
            )
        except LetsbeError as error:
            if self._held is not None:
                return
            run.type = "UNKNOWN"
            self._journal.receive(run)
            logger().warning("task not believed", code=error.code, reason=error.message)
            self._journal.finish(run.id, Stopwatch().refusal(run.id, "UNKNOWN", error))
        else:
            if self._held is not None and not self._held.allows(believed.task.type, believed.task.payload):
                return
            run.type = believed.task.type
            run.caller = msgspec.json.encode(Caller(uid=os.getuid(), requested_by=believed.task.requested_by)).decode()
            run.expires_at = epoch(believed.task.expires_at)
            self._inbox.put(believed)
            self._journal.receive(run)

    def claim(self, client: Client, outbox: Outbox) -> int:
        """Claim what was received, now or before a crash; what is no longer to be had is forgotten.

        What another answer keeps from being claimed waits for the next poll, and keeps nothing else waiting.

        Returns how many outcomes of refused tasks were delivered.
        """
        delivered = 0
        for run in self._journal.unclaimed():
            if run.state == "received" and self._is_held(run.id):
                continue
            try:
                client.claim(run.id, run.attempt_id or "")
            except RefusedByOrchestrator as error:
                if error.is_general:
                    raise
                if error.is_final and error.http_status in (404, 409, 410):
                    logger().info("task is no longer to be had", task_id=run.id, reason=error.message)
                    self._inbox.drop(run.id)
                    self._journal.forget(run.id)
                else:
                    logger().warning("task not claimed, kept", task_id=run.id, reason=error.message)
                continue
            self._journal.claimed(run.id)
            if run.state == "finished":
                delivered += outbox.deliver_one(run.id)
        return delivered

    def _is_held(self, run_id: str) -> bool:
        if self._held is None:
            return False
        believed = self._inbox.get(run_id)
        return believed is not None and not self._held.allows(believed.task.type, believed.task.payload)

    def cancel(self, task_ids: Iterable[str]) -> None:
        """Tasks that have not begun end here; one that runs is told."""
        for task_id in task_ids:
            self._cancel(task_id)

    def _cancel(self, task_id: str) -> None:
        run = self._journal.get(task_id)
        if run is None or run.state not in ("received", "started"):
            return
        logger().info("task cancelled by the orchestrator", task_id=task_id)
        if run.state == "received":
            self._journal.finish(task_id, self._cancelled(run), steps_from=("received",))
            self._inbox.drop(task_id)
        else:
            self._journal.cancel(task_id)
            if run.pid is not None and not run.process_is_gone:
                os.kill(run.pid, signal.SIGUSR1)

    def _cancelled(self, run: Run) -> Outcome:
        if run.reruns:
            from letsbe.agent.recovery import not_run_again

            return not_run_again(run, self.config, self._journal, "cancelled by the orchestrator")
        error = LetsbeError("cancelled", f"task {run.id} was cancelled before it began")
        return Stopwatch().refusal(run.id, run.type, error)
