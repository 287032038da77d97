"""The one path for every caller: policy, locks, journal, execution under a deadline, redaction, outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from letsbe.agent import payloads, policy
from letsbe.agent.alarm import alarm
from letsbe.agent.caller import Caller
from letsbe.agent.cancel import Cancel
from letsbe.agent.config import Config, Origin
from letsbe.agent.ending import finish
from letsbe.agent.outcomes import Request, Stopwatch, internal_error, log_outcome, stopped
from letsbe.agent.steps import RunSteps
from letsbe.errors import DeadlineReached, LetsbeError, Terminated
from letsbe.executors import executor_class
from letsbe.executors.base import BaseExecutor, Context, Payload
from letsbe.host import Host
from letsbe.host.clock import Deadline, Progress, timed_out
from letsbe.host.docker import Engine
from letsbe.host.files import Files
from letsbe.host.processes import Processes
from letsbe.protocol import Outcome, new_id
from letsbe.tools.redaction import Redactor

if TYPE_CHECKING:
    from letsbe.agent.journal import Journal
    from letsbe.agent.rollback_record import RollbackRecord


class Runner:
    """Runs requests of one origin under one configuration."""

    def __init__(
        self,
        config: Config,
        *,
        origin: Origin,
        caller: Caller,
        executors: Sequence[str] = ("*",),
        paths: Sequence[str] | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """``executors`` and ``paths``: what the key may have done that signed the task; steps inside it included."""
        self.config = config
        self.origin = origin
        self.caller = caller
        self._executors = executors
        self._paths = paths
        #: What may end the one run of this runner before its time.
        self.cancel = cancel or Cancel()
        self.on_progress: Progress | None = None
        self.on_live: Callable[[Any], None] | None = None

    def allow(self, task_type: str) -> None:
        """Raise ``policy_denied`` unless origin and signer may use the executor."""
        policy.check(self.config, self.origin, task_type)
        policy.check_signer(self._executors, task_type)

    def require_needs(self, kind: type[BaseExecutor[Any, Any]]) -> None:
        """Raise unless this machine has, for this user, what the executor can't work without."""
        if kind.needs:
            from letsbe.host.needs import require

            require(kind.type, kind.needs)

    def run(self, request: Request) -> Outcome:
        """One request to its outcome; never raises for what happens inside."""
        clock = Stopwatch()
        redactor = Redactor()
        self._finished: Outcome | None = None
        try:
            return self._run(request, clock, redactor)
        except LetsbeError as error:
            return clock.outcome(request, redactor, error=error)
        except (KeyboardInterrupt, Terminated) as stop:
            return self._finished or clock.outcome(request, redactor, error=stopped(stop))
        except Exception as error:
            return clock.outcome(request, redactor, error=internal_error(error, request.type))

    def _run(self, request: Request, clock: Stopwatch, redactor: Redactor) -> Outcome:
        kind = executor_class(request.type)
        self.allow(request.type)
        _refuse_other_version(kind, request)
        payload: Payload = payloads.decode(request.payload, kind.payload_type, kind.type)
        self.require_needs(kind)
        for secret in payloads.secrets_in(payload):
            redactor.meet(secret)
        journaled = request.task_id is not None or (kind.changes and not request.check)
        with ExitStack() as stack:
            journal = stack.enter_context(self._open_journal()) if journaled else None
            run_id = request.task_id or new_id()
            context, steps = self._context(request, kind, payload, redactor, journal, run_id)
            executor = kind(context)
            if kind.changes:
                steps.held = executor.locks(payload)  # in check mode too: naming a resource refuses what can't be
            if kind.changes and not request.check:
                stack.enter_context(steps.locked)
                self._lock(stack, steps.held, request, run_id, journal)
            if journal is None:
                return self._execute(executor, payload, request, clock, redactor)
            if request.task_id is None:
                journal.start(self._row(run_id, request, payload, redactor))
            else:
                journal.start_received(run_id, payloads.for_journal(payload, redactor))
            outcome = self._execute(executor, payload, request, clock, redactor)
            if outcome.task_id is None and kind.changes:
                outcome = msgspec.structs.replace(outcome, task_id=run_id)
            if self.origin != "orchestrator":
                from letsbe.agent import hold

                outcome = hold.warned(journal, outcome)
            self._finished = outcome = finish(self.config, journal, run_id, outcome)
            steps.ended()
            if kind.changes and request.task_id is None:
                log_outcome(outcome, self.origin)
            return outcome

    def _lock(self, stack: ExitStack, names: set[str], request: Request, run_id: str, journal: Journal | None) -> None:
        from letsbe.agent.housekeeping import settle_crashed
        from letsbe.agent.locks import Locks, holder_now

        holder = holder_now(request.type, run_id)
        stack.enter_context(Locks(self.config.state_dir).hold(names, holder, request.lock_wait_s))
        if journal is not None:  # who held them may have been killed: what it left half done is put right first
            settle_crashed(self.config, journal, held=names)

    def go_on(
        self,
        request: Request,
        run_id: str,
        journal: Journal,
        record: RollbackRecord,
        redactor: Redactor,
        held: set[str],
    ) -> tuple[Outcome, list[str]]:
        """Execute once more a run that a crash cut off in its rollback, and that has its row and its locks ``held``.

        Its steps give what they gave; what was not put back yet is. Returns what it comes to, and the files that were
        put back. Raises what stands in the way.
        """
        clock = Stopwatch()
        kind = executor_class(request.type)
        payload: Payload = payloads.decode(request.payload, kind.payload_type, kind.type)
        for secret in payloads.secrets_in(payload):
            redactor.meet(secret)
        context, steps = self._context(request, kind, payload, redactor, journal, run_id, record)
        steps.held = held
        with steps.locked:
            return clock.outcome(request, redactor, result=kind(context).execute(payload)), steps.restored

    def run_step(
        self, executor: BaseExecutor[Any, Any], payload: Payload, request: Request, redactor: Redactor
    ) -> Outcome:
        """A step of a run that already has its locks and its row."""
        return self._execute(executor, payload, request, Stopwatch(), redactor)

    def _execute(
        self,
        executor: BaseExecutor[Any, Any],
        payload: Payload,
        request: Request,
        clock: Stopwatch,
        redactor: Redactor,
    ) -> Outcome:
        try:
            # What chains steps is not torn itself: it is to put back what they did.
            with alarm(executor.host.deadline), nullcontext() if executor.only_steps else self.cancel.heeded():
                result = executor.execute(payload)
        except LetsbeError as error:
            return clock.outcome(request, redactor, error=error)
        except DeadlineReached:
            return clock.outcome(request, redactor, error=timed_out(executor.host.deadline.seconds))
        except (KeyboardInterrupt, Terminated) as stop:
            return clock.outcome(request, redactor, error=stopped(stop))
        except Exception as error:
            return clock.outcome(request, redactor, error=internal_error(error, request.type))
        return clock.outcome(request, redactor, result=result)

    def _context(
        self,
        request: Request,
        kind: type[BaseExecutor[Any, Any]],
        payload: Payload,
        redactor: Redactor,
        journal: Journal | None,
        run_id: str,
        record: RollbackRecord | None = None,
    ) -> tuple[Context, RunSteps]:
        snapshots = None
        if journal is not None and kind.changes and not request.check:
            from letsbe.agent.undo import Snapshots

            snapshots = Snapshots(self.config.state_dir, journal, run_id)
        steps = RunSteps(self, request, redactor, journal, snapshots, run_id, record)
        host = Host(
            files=Files(self.config.roots, snapshots, only=self._paths, check=request.check),
            processes=Processes(check=request.check, mark=run_id),
            engine=Engine(),
            deadline=Deadline(self.timeout_s(request)),
            progress=steps.progress,
            probe_networks=tuple(self.config.probes.allow),
        )
        context = Context(
            host=host,
            redactor=redactor,
            rights=policy.rights(self.config, self.origin),
            steps=steps,
            check=request.check,
            diff=request.diff,
            live=self.on_live,
        )
        steps.context = context
        wanted = kind(context).timeout_s(payload)
        if wanted is not None and request.timeout_s is None:
            host.deadline = Deadline(wanted)
        return context, steps

    def timeout_s(self, request: Request) -> float:
        """The deadline of a run, in seconds, unless its payload names one."""
        return float(self.config.limits.timeout_s if request.timeout_s is None else request.timeout_s)

    def show_progress(self, step: str, percent: int | None, message: str) -> None:
        """Tell the person who waits, if one does."""
        if self.on_progress is not None:
            self.on_progress(step, percent, message)

    @contextmanager
    def _open_journal(self) -> Iterator[Journal]:
        from letsbe.agent.housekeeping import tidy
        from letsbe.agent.journal import Journal

        journal = Journal(self.config.state_dir)
        try:
            tidy(self.config, journal)
            yield journal
        finally:
            journal.close()

    def _row(self, run_id: str, request: Request, payload: Payload, redactor: Redactor) -> Any:
        from letsbe.agent.journal_rows import Run

        return Run(
            id=run_id,
            origin=self.origin,
            caller=msgspec.json.encode(self.caller).decode(),
            type=request.type,
            payload=payloads.for_journal(payload, redactor),
            state="started",
        )


def _refuse_other_version(kind: type[BaseExecutor[Any, Any]], request: Request) -> None:
    if request.schema_version is not None and request.schema_version != kind.schema_version:
        raise LetsbeError(
            "unsupported_version",
            f"{request.type} is wanted in version {request.schema_version}, this agent has {kind.schema_version}",
            hint="Upgrade the agent, or send the version that it has.",
        )
