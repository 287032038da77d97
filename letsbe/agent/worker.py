"""The worker: runs the tasks that polls received, one after the other, and reports each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

from letsbe.agent import hold, key_set, trust
from letsbe.agent.caller import Caller
from letsbe.agent.cancel import Cancel
from letsbe.agent.config import Config
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.log import bind
from letsbe.agent.outbox import Outbox
from letsbe.agent.outcomes import Request, Stopwatch, log_outcome
from letsbe.agent.runner import Runner
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.executors import executor_class
from letsbe.protocol import ErrorInfo, Outcome

if TYPE_CHECKING:
    from letsbe.agent.poll import Polled

#: How long a task waits for a resource that a hand-run command holds, before it is left for the next poll.
LOCK_WAIT_S = 20.0


class Worker:
    """The work phase of one poll."""

    def __init__(self, config: Config, journal: Journal, outbox: Outbox, polled: Polled, begun: float) -> None:
        self.config = config
        self._journal = journal
        self._outbox = outbox
        self._inbox = Inbox(config.state_dir)
        self._polled = polled
        self._begun = begun

    def work(self, locks: Locks) -> None:
        """Run what waits: everything when no other poll works, else only tasks that only read."""
        if not self._waiting(set()):
            return
        seen: set[str] = set()
        with ExitStack() as stack:
            try:
                stack.enter_context(locks.hold({"work"}, holder_now("poll", None)))
                alone = True
            except LetsbeError as busy:
                if busy.code != "busy":
                    raise
                alone = False
            while run := self._next(seen, alone):
                seen.add(run.id)
                self._work_on(run)
        self._polled.waiting = len(self._waiting(set()))

    def _next(self, seen: set[str], alone: bool) -> Run | None:
        if time.monotonic() - self._begun > self.config.poll.budget_s:
            return None
        return next((run for run in self._waiting(seen) if alone or _only_reads(run.type)), None)

    def _waiting(self, seen: set[str]) -> list[Run]:
        return [run for run in self._journal.in_state("received") if run.claimed_at is not None and run.id not in seen]

    def _work_on(self, run: Run) -> None:
        bind(task_id=run.id)
        try:
            outcome = self._execute(run)
            if outcome is None:
                return
            outcome = self._begun_before(run, outcome)
            if not self._keep(run.id, outcome):
                return
            self._inbox.drop(run.id)
            self._polled.executed += 1
            log_outcome(outcome, run.origin)
            self._polled.delivered += self._outbox.deliver_one(run.id)
        finally:
            bind(task_id=None)

    def _begun_before(self, run: Run, outcome: Outcome) -> Outcome:
        """A task that crashed and is refused now (expired, no longer allowed, ...) has begun all the same."""
        row = self._journal.get(run.id)
        if not run.reruns or row is None or row.state != "received" or outcome.error is None:
            return outcome
        from letsbe.agent.recovery import not_run_again

        return not_run_again(row, self.config, self._journal, outcome.error.message)

    def _keep(self, run_id: str, outcome: Outcome) -> bool:
        """Journal an outcome; False when another poll has begun the task meanwhile, and will tell what it came to."""
        row = self._journal.get(run_id)
        begun_here = row is not None and row.state == "started" and row.pid == os.getpid()
        self._journal.finish(run_id, outcome, steps_from=("started",) if begun_here else ("received",))
        row = self._journal.get(run_id)
        return row is not None and row.state != "started"

    def _execute(self, run: Run) -> Outcome | None:
        """The outcome of a task; None when it has to wait for a resource, or another poll has it.

        Raises what says nothing of the task (``state_unusable``): the next poll tries again.
        """
        believed = self._inbox.get(run.id)
        if believed is None:
            lost = LetsbeError(
                "task_lost",
                f"task {run.id} is no longer in the inbox, or can't be read there; it did not begin",
                hint="The log has the reason. Submit it again.",
            )
            return Stopwatch().refusal(run.id, run.type, lost)
        server_now = time.time() + float(self._journal.fact("clock_skew_s") or 0)
        keys, strict = key_set.trusted(self.config), self.config.orchestrator.require_signatures
        try:
            trust.refuse_expired(believed.task, server_now)
            grant = trust.grant(believed, keys, require_signatures=strict)
        except LetsbeError as error:
            return Stopwatch().refusal(run.id, run.type, error)
        if not trust.is_due(believed.task, server_now):
            return None
        task = believed.task
        held = hold.current(self._journal)  # asked for each task: a person may hold the host while another one runs
        if held is not None and not held.allows(task.type, task.payload):
            self._journal.progress(run.id, "", None, str(held))
            return None
        request = Request(
            type=task.type,
            payload=task.payload,
            task_id=task.task_id,
            schema_version=task.schema_version,
            check=task.check,
            timeout_s=float(task.timeout_s),
            lock_wait_s=LOCK_WAIT_S,
        )
        with self._cancellable(run.id) as cancel:
            runner = Runner(
                self.config,
                origin="orchestrator",
                caller=decode(run.caller, Caller),
                executors=grant.executors,
                paths=grant.paths,
                cancel=cancel,
            )
            outcome = runner.run(request)
        if outcome.error is not None and outcome.error.code == "busy":
            self._journal.progress(run.id, "", None, outcome.error.message)
            return None
        if outcome.error is not None and outcome.error.code == "replayed_task":
            return None
        if outcome.error is not None and outcome.error.code == "state_unusable":
            self._leave_if_not_begun(run.id, outcome.error)
        return outcome

    def _leave_if_not_begun(self, run_id: str, error: ErrorInfo) -> None:
        """A task that could not be journaled has not begun: the poll ends here, and the next one runs it."""
        row = self._journal.get(run_id)
        if row is not None and row.state == "received":
            raise LetsbeError(error.code, error.message, hint=error.hint)

    @contextmanager
    def _cancellable(self, run_id: str) -> Iterator[Cancel]:
        """SIGUSR1 from another poll means: look whether the running task is to be cancelled."""

        def is_asked() -> bool:
            # A connection of its own: the other may be in the middle of a call.
            with suppress(LetsbeError), closing(Journal(self.config.state_dir)) as journal:
                return journal.is_cancelled(run_id)
            return False  # it can't be told; the next poll asks again

        cancel = Cancel(is_asked)
        signal.signal(signal.SIGUSR1, cancel.look)
        try:
            yield cancel
        finally:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # one that comes late is for a task that has ended


def _only_reads(task_type: str) -> bool:
    try:
        return not executor_class(task_type).changes
    except LetsbeError:
        return True  # unknown: its refusal needs no lock
