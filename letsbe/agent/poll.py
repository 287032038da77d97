"""``letsbe poll``: one exchange with the orchestrator, then the work that it brought.

The exchange happens under ``poll.lock`` and takes seconds; the work under ``work.lock``, so that the next minute's
poll can heartbeat for a long task, renew its lease, and run tasks that only read.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from msgspec import Struct

from letsbe import __version__
from letsbe.agent import breaker, hold, identity, last_poll, reporting
from letsbe.agent.client import Client, RefusedByOrchestrator, exchange, server_clock
from letsbe.agent.config import Config
from letsbe.agent.housekeeping import tidy
from letsbe.agent.identity import Identity
from letsbe.agent.journal import Journal
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.log import logger
from letsbe.agent.outbox import Outbox
from letsbe.agent.reporting import Report
from letsbe.errors import LetsbeError
from letsbe.protocol import (
    MAX_RUNNING,
    PROBLEM_AGENT_UNKNOWN,
    AttemptProgress,
    JournalHead,
    PollLimits,
    PollRequest,
    PollResponse,
)

#: Clocks that differ by more are worth a warning.
SKEW_S = 60.0


class Polled(Struct, kw_only=True):
    """What a poll came to, for ``-v`` and tests."""

    skipped: str = ""
    held: str = ""
    offered: int = 0
    executed: int = 0
    delivered: int = 0
    waiting: int = 0


class Poll:
    """One poll."""

    def __init__(self, config: Config, *, at_once: bool = False) -> None:
        """``at_once``: ask even while the breaker says to wait."""
        self.config = config
        self.polled = Polled()
        self._at_once = at_once
        self._begun = time.monotonic()
        self._limits = PollLimits()

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
        held = hold.current(journal)
        self.polled.held = "" if held is None else str(held)
        locks = Locks(self.config.state_dir)
        tidy(self.config, journal)  # a rollback that a crash cut off may take minutes: others poll meanwhile
        with ExitStack() as stack:
            try:
                stack.enter_context(locks.hold({"poll"}, holder_now("poll", None)))
            except LetsbeError as busy:
                if busy.code != "busy":
                    raise
                self.polled.skipped = busy.message
                return
            window = breaker.load(journal)
            if window.is_open and not self._at_once:
                self.polled.skipped = f"not before {time.ctime(window.not_before)}: {window.reason}"
                return
            client = self._exchange(journal)
        if journal.in_state("received", 1):
            from letsbe.agent.worker import Worker

            outbox = Outbox(journal, client, self._limits.result_bytes)
            Worker(self.config, journal, outbox, self.polled, self._begun).work(locks)

    def _exchange(self, journal: Journal) -> Client:
        try:
            with exchange():
                return self._talk(journal)
        except LetsbeError as error:
            retry_after_s = error.retry_after_s if isinstance(error, RefusedByOrchestrator) else None
            if breaker.counts(error.code):
                breaker.failed(journal, error.message, retry_after_s)
            logger().info("exchange failed", code=error.code, reason=error.message)
            raise

    def _talk(self, journal: Journal) -> Client:
        """Ask, deliver what waits in the outbox, and claim what is offered."""
        told = reporting.report(journal)
        me, client, answer = self._ask(journal, told)
        reporting.arrived(journal, told)
        breaker.succeeded(journal, answer.next_poll_s)
        last_poll.mark(self.config.state_dir)
        self._note_skew(journal, answer)
        self._limits = answer.limits
        outbox = Outbox(journal, client, answer.limits.result_bytes)
        self.polled.delivered += outbox.deliver()
        if answer.key_sets:
            from letsbe.agent import key_set

            me = key_set.follow(self.config, journal, me, answer.key_sets)
        if answer.tasks or answer.cancel or journal.unclaimed():
            from letsbe.agent.intake import Intake

            intake = Intake(self.config, journal, me)
            self.polled.offered += len(answer.tasks)
            if intake.receive(answer.tasks, server_clock(answer.server_time)):
                self.polled.delivered += outbox.deliver()
            intake.cancel(answer.cancel)
            self.polled.delivered += intake.claim(client, outbox)
        return client

    def _ask(self, journal: Journal, told: Report) -> tuple[Identity, Client, PollResponse]:
        """Poll; register before if this agent is not known yet, or no longer and there is a new token."""
        me = identity.load(self.config.state_dir)
        if me is None or me.agent_token is None:
            me = self._register(me)
        client = self._client(me)
        try:
            return me, client, client.poll(me.agent_id, self._question(journal, me, told))
        except RefusedByOrchestrator as error:
            token_file = self.config.orchestrator.enrolment_token_file
            if error.problem.type != PROBLEM_AGENT_UNKNOWN or not os.path.exists(token_file):
                raise
        me = self._register(me)
        client = self._client(me)
        return me, client, client.poll(me.agent_id, self._question(journal, me, told))

    def _register(self, me: Identity | None) -> Identity:
        from letsbe.agent.registration import register

        return register(self.config, me)

    def _client(self, me: Identity) -> Client:
        return Client(self.config.orchestrator, self.config.orchestrator.url or "", me.agent_token)

    def _question(self, journal: Journal, me: Identity, told: Report) -> PollRequest:
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
        held = hold.current(journal)
        head = journal.head()
        # No more than whose leases can be renewed: what waits for a long task is safe with the orchestrator.
        wanted = 0 if held is not None and not held.allow else MAX_RUNNING - len(running)
        return PollRequest(
            version=__version__,
            hold=None if held is None else held.as_wire(),
            outbox_depth=journal.outbox_depth(),
            running=running[:MAX_RUNNING],
            max_tasks=max(0, min(wanted, self.config.poll.max_tasks)),
            key_set_version=None if self.config.orchestrator.trusted_keys else me.key_set_version,
            host_runs=told.runs,
            journal=JournalHead(seq=head.seq, hash=head.hash),
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
