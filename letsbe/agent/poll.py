"""``letsbe poll``: one exchange with the orchestrator, then the work that it brought.

The exchange happens under ``poll.lock`` and takes seconds; the work under ``work.lock``, so that the next minute's
poll can heartbeat for a long task, renew its lease, and run tasks that only read.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import msgspec
from msgspec import Struct

from letsbe import __version__
from letsbe.agent import breaker, identity, last_poll, trust
from letsbe.agent.caller import Caller
from letsbe.agent.client import Client, RefusedByOrchestrator, server_clock
from letsbe.agent.config import Config
from letsbe.agent.housekeeping import tidy
from letsbe.agent.identity import Identity
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal, Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.log import bind, logger
from letsbe.agent.outbox import Outbox
from letsbe.agent.recovery import recover
from letsbe.agent.registration import register
from letsbe.agent.runner import Stopwatch
from letsbe.agent.worker import Worker
from letsbe.errors import LetsbeError
from letsbe.protocol import AttemptProgress, PollRequest, PollResponse, TaskOffer

#: Clocks that differ by more are worth a warning.
SKEW_S = 60.0


class Polled(Struct, kw_only=True):
    """What a poll came to, for ``-v`` and tests."""

    skipped: str = ""
    offered: int = 0
    executed: int = 0
    delivered: int = 0
    waiting: int = 0


class Poll:
    """One poll."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.polled = Polled()
        self._begun = time.monotonic()

    def run(self) -> Polled:
        """Exchange and work; raises :class:`LetsbeError` when the exchange failed."""
        if self.config.orchestrator.url is None:
            raise LetsbeError(
                "no_orchestrator",
                "no orchestrator is set",
                hint="Set orchestrator.url in the configuration; local use works without.",
            )
        journal = Journal(self.config.state_dir)
        try:
            self._run(journal)
        finally:
            journal.close()
        return self.polled

    def _run(self, journal: Journal) -> None:
        locks = Locks(self.config.state_dir)
        with ExitStack() as exchange:
            try:
                exchange.enter_context(locks.hold({"poll"}, holder_now("poll", None)))
            except LetsbeError as busy:
                if busy.code != "busy":
                    raise
                self.polled.skipped = busy.message
                return
            recover(self.config, journal)
            tidy(self.config, journal)
            window = breaker.load(journal)
            if window.is_open:
                self.polled.skipped = f"not before {time.ctime(window.not_before)}: {window.reason}"
                return
            me, client = self._exchange(journal)
        Worker(self.config, journal, client, me, self.polled, self._begun).work(locks)

    def _exchange(self, journal: Journal) -> tuple[Identity, Client]:
        try:
            me = identity.load(self.config.state_dir)
            if me is None or me.agent_token is None:
                me = register(self.config, me)
            client = Client(self.config.orchestrator, me.url, me.agent_token)
            answer = client.poll(me.agent_id, self._question(journal))
        except LetsbeError as error:
            retry_after_s = error.retry_after_s if isinstance(error, RefusedByOrchestrator) else None
            after = breaker.failed(journal, error.message, retry_after_s)
            logger().info("exchange failed", code=error.code, reason=error.message, failures=after.failures)
            raise
        breaker.succeeded(journal, answer.next_poll_s)
        last_poll.mark(self.config.state_dir)
        self._note_skew(journal, answer)
        outbox = Outbox(journal, client, answer.limits.result_bytes)
        self.polled.delivered += outbox.deliver()
        for offer in answer.tasks:
            self._receive(journal, me, offer, server_clock(answer.server_time))
        self._claim(journal, client, outbox)
        for task_id in answer.cancel:
            self._cancel(journal, task_id)
        return me, client

    def _question(self, journal: Journal) -> PollRequest:
        running = [
            AttemptProgress(
                task_id=run.id,
                attempt_id=run.attempt_id or "",
                step=run.step[:200],
                percent=run.percent,
                message=run.message,
            )
            for run in journal.under_lease()
        ]
        return PollRequest(
            version=__version__,
            outbox_depth=journal.outbox_depth(),
            running=running[:100],
            max_tasks=self.config.poll.max_tasks,
        )

    def _note_skew(self, journal: Journal, answer: PollResponse) -> None:
        """Tasks are judged by the orchestrator's clock; a wrong one here is worth a line."""
        skew = server_clock(answer.server_time) - time.time()
        before = journal.fact("clock_skew_s")
        if abs(skew) > SKEW_S:
            if before is None:
                logger().warning("clock differs from the orchestrator's", skew_s=round(skew))
            journal.remember("clock_skew_s", str(round(skew)))
        elif before is not None:
            journal.remember("clock_skew_s", None)

    def _receive(self, journal: Journal, me: Identity, offer: TaskOffer, server_now: float) -> None:
        """Journal an offered task; one that is not believed is finished at once, with the reason."""
        bind(task_id=offer.task_id)
        self.polled.offered += 1
        known = journal.get(offer.task_id)
        if known is not None:
            if known.attempt_id != offer.attempt_id:
                logger().warning("task offered again, refused", state=known.state)
            bind(task_id=None)
            return
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
                agent_id=me.agent_id,
                trusted_keys=self.config.orchestrator.trusted_keys or me.trusted_keys,
                require_signatures=self.config.orchestrator.require_signatures,
                server_now=server_now,
            )
        except LetsbeError as error:
            run.type = "UNKNOWN"
            journal.receive(run)
            logger().warning("task not believed", code=error.code, reason=error.message)
            journal.finish(run.id, Stopwatch().refusal(run.id, "UNKNOWN", error))
        else:
            run.type = believed.task.type
            run.caller = msgspec.json.encode(Caller(uid=os.getuid(), requested_by=believed.task.requested_by)).decode()
            Inbox(self.config.state_dir).put(believed)
            journal.receive(run)
        bind(task_id=None)

    def _claim(self, journal: Journal, client: Client, outbox: Outbox) -> None:
        """Claim what was received, now or before a crash; what is no longer to be had is forgotten."""
        for run in journal.unclaimed():
            try:
                client.claim(run.id, run.attempt_id or "")
            except RefusedByOrchestrator as error:
                if error.http_status not in (404, 409, 410):
                    raise
                logger().info("task is no longer to be had", task_id=run.id, reason=error.message)
                Inbox(self.config.state_dir).drop(run.id)
                journal.forget(run.id)
                continue
            journal.claimed(run.id)
            if run.state == "finished":
                self.polled.delivered += outbox.deliver_one(run.id)

    def _cancel(self, journal: Journal, task_id: str) -> None:
        """A task that has not begun ends here; one that runs is told."""
        run = journal.get(task_id)
        if run is None or run.state not in ("received", "started"):
            return
        logger().info("task cancelled by the orchestrator", task_id=task_id)
        if run.state == "received":
            error = LetsbeError("cancelled", f"task {task_id} was cancelled before it began")
            journal.finish(task_id, Stopwatch().refusal(task_id, run.type, error), steps_from=("received",))
            Inbox(self.config.state_dir).drop(task_id)
        else:
            journal.cancel(task_id)
            if run.pid is not None and not run.process_is_gone:
                os.kill(run.pid, signal.SIGUSR1)
