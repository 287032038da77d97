"""Steps: how an executor that chains others runs them, under the policy, journal row and deadline of its own run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from letsbe.agent import payloads
from letsbe.agent.alarm import no_alarm
from letsbe.agent.outcomes import Request, Stopwatch
from letsbe.decoding import convert
from letsbe.errors import LetsbeError
from letsbe.executors import executor_class
from letsbe.executors.base import BaseExecutor, Context, Data, Payload, PutBack, Step
from letsbe.host import Host
from letsbe.host.clock import Deadline
from letsbe.protocol import Outcome
from letsbe.tools.redaction import Redactor

if TYPE_CHECKING:
    from letsbe.agent.journal import Journal
    from letsbe.agent.rollback_record import RollbackRecord
    from letsbe.agent.runner import Runner
    from letsbe.agent.undo import Snapshots

#: The last part of a run's step, in the journal, while what its steps did is put back: each by what is known of it, or
#: by steps given for that. No step can have such a name.
PUTTING_BACK = "(putting back)"
ROLLBACK_STEPS = "(rollback steps)"

#: At most this often is progress written to the journal, in seconds: each write is an fsync.
_PROGRESS_EVERY_S = 1.0


class RunSteps:
    """The :class:`letsbe.executors.base.Steps` of one run."""

    context: Context

    def __init__(
        self,
        runner: Runner,
        request: Request,
        redactor: Redactor,
        journal: Journal | None,
        snapshots: Snapshots | None,
        run_id: str,
        record: RollbackRecord | None = None,
    ) -> None:
        """``record``: what a crashed process knew of this run, to go on with."""
        self._runner = runner
        self._request = request
        self._redactor = redactor
        self._journal = journal
        self._snapshots = snapshots
        self._run_id = run_id
        self._known = record
        self._step = ""
        #: What the journal is told in place of a step while what steps did is put back.
        self._phase = ""
        #: The machine with the deadline of each step that is under way, the innermost last.
        self._hosts: list[Host] = []
        self._written = 0.0
        #: The locks that the run holds, and what frees those taken on the way.
        self.held: set[str] = set()
        self.locked = ExitStack()
        #: Files that were put back.
        self.restored: list[str] = []

    def prepare(self, step_id: str, task_type: str, payload: Any, *, deferred: frozenset[str] = frozenset()) -> Step:
        """Validate type, policy and payload; of a run that is gone on with, the payload only."""
        path, resumed = self._inside(step_id), self._record.resumed
        if resumed and (refusal := self._record.refusal(path)) is not None:
            raise refusal
        try:
            kind = executor_class(task_type)
            if not resumed:
                self._runner.allow(task_type)
            decoded: Payload = payloads.decode_partly(
                payload, kind.payload_type, kind.type, f"$.steps.{step_id}", deferred=deferred
            )
            if not resumed:
                self._runner.require_needs(kind)
        except LetsbeError as error:
            if not resumed:
                self._record.note_refused(path, error)
            raise
        for secret in payloads.secrets_in(decoded):
            self._redactor.meet(secret)
        context = msgspec.structs.replace(self.context, host=self._host)
        return Step(id=step_id, executor=kind(context), payload=decoded)

    def data_fields(self, task_type: str) -> tuple[str, ...]:
        """The names in a task type's ``data``."""
        return executor_class(task_type).data_type.__struct_fields__

    def as_json(self, outcome: Outcome) -> Any:
        """An outcome as JSON values."""
        return msgspec.to_builtins(outcome)

    @contextmanager
    def putting_back(self, seconds: float, *, resumable: bool, by_steps: bool = False) -> Iterator[None]:
        """Another deadline, no alarm and no cancel, for putting back what was done.

        It is on disk first that this has begun.
        """
        with self._runner.cancel.put_off(), no_alarm():
            host = self._host
            kept, host.deadline = host.deadline, Deadline(seconds)
            before = self._phase
            if resumable:
                self._phase = self._inside(ROLLBACK_STEPS if by_steps else PUTTING_BACK)
                with suppress(LetsbeError):  # all has to come back on a full disk as well
                    self._open_record()
                    self._note("", None, "")
            try:
                yield
            finally:
                host.deadline, self._phase = kept, before

    def ended(self) -> None:
        """The run has ended: once its outcome is in the journal there is nothing to go on with after a crash."""
        if self._record.is_open and self._journal is not None:
            run = self._journal.get(self._run_id)
            if run is not None and run.state != "started":
                with suppress(LetsbeError):  # it is swept later
                    self._record.drop()

    def lock(self, names: set[str]) -> None:
        """Take locks that were not known at the start; ``busy`` at once when one is held. Freed at the run's end."""
        missing = names - self.held
        if not missing:
            return
        from letsbe.agent.locks import Locks, holder_now

        locks = Locks(self._runner.config.state_dir)
        self.locked.enter_context(locks.hold(missing, holder_now(self._request.type, self._run_id)))
        self.held |= missing

    def run(self, step: Step, *, timeout_s: float | None = None) -> Outcome:
        """Run a prepared step within what is left of the whole run's deadline; one that has ended is not run again."""
        path = self._inside(step.id)
        if (known := self._record.outcome(path)) is not None:
            return known
        host = self._host
        wanted = timeout_s if timeout_s is not None else step.executor.timeout_s(step.payload)
        context = msgspec.structs.replace(
            self.context, host=msgspec.structs.replace(host, deadline=Deadline(host.deadline.within(wanted)))
        )
        executor = type(step.executor)(context)
        outer, self._step = self._step, path
        self._hosts.append(context.host)
        request = Request(type=executor.type, payload=None, task_id=self._request.task_id, check=self._request.check)
        try:
            self._begin(executor)
            if executor.changes and not self._request.check:
                self.lock(executor.locks(step.payload))
            outcome = self._runner.run_step(executor, step.payload, request, self._redactor)
        except LetsbeError as error:
            outcome = Stopwatch().outcome(request, self._redactor, error=error)
        finally:
            self._step = outer
            self._hosts.pop()
            self._enter(outer, written=True)
        self._record.note_ended(path, outcome)
        return outcome

    def undo(self, step: Step, outcome: Outcome) -> list[str]:
        """Put back what a step changed: beyond files by its executor, then the files from their snapshots."""
        path = self._inside(step.id)
        if (known := self._record.undone(path)) is not None:
            return known
        problems: list[str] = []
        outer, self._step = self._step, path
        try:
            if outcome.data:  # a step that failed with nothing to tell has done nothing beyond files
                problems = self._undo_beyond_files(step, outcome)
        finally:
            self._step = outer
        problems += self._put_back(step=path).problems
        self._record.note_undone(path, problems)
        return problems

    def _undo_beyond_files(self, step: Step, outcome: Outcome) -> list[str]:
        executor = step.executor
        if type(executor).undo is BaseExecutor.undo:
            return []
        data: Data = convert(outcome.data, executor.data_type, strict=False)
        try:
            self._ask_again(executor)
            return executor.undo(step.payload, data)
        except LetsbeError as error:
            return [self._redactor.prose(error.message)]

    def put_files_back(self, wanted: Callable[[str], bool]) -> PutBack:
        """Put back the files of the run that ``wanted`` names; those of steps that are undone later count as undone."""
        return self._put_back(wanted=wanted)

    def _put_back(self, *, step: str | None = None, wanted: Callable[[str], bool] | None = None) -> PutBack:
        if self._snapshots is None or self._journal is None:
            return PutBack()
        from letsbe.agent.undo import Undo

        files = self.context.host.files.without_recorder()
        undone = Undo(self._runner.config.state_dir, self._journal, files).put_back(
            self._run_id, step=step, wanted=wanted, resumed=self._record.resumed
        )
        self.restored += undone.restored
        return PutBack(restored=undone.restored, problems=undone.problems)

    @property
    def _host(self) -> Host:
        return self._hosts[-1] if self._hosts else self.context.host

    def progress(self, step: str, percent: int | None, message: str) -> None:
        """Progress of an executor: to the person who waits, and now and then to the journal."""
        inside = self._inside(step)
        message = self._redactor.text(message)
        self._runner.show_progress(inside, percent, message)
        if time.monotonic() - self._written >= _PROGRESS_EVERY_S:
            with suppress(LetsbeError):  # not worth the run that it is about
                self._note(step, percent, message)
            self._written = time.monotonic()

    def _note(self, step: str, percent: int | None, message: str) -> None:
        if self._journal is not None:
            self._journal.progress(self._run_id, self._phase or self._inside(step), percent, message)

    def _inside(self, step: str) -> str:
        return f"{self._step}.{step}".strip(".")

    @property
    def _record(self) -> RollbackRecord:
        if self._known is None:
            from letsbe.agent.rollback_record import RollbackRecord

            self._known = RollbackRecord(self._runner.config.state_dir, self._run_id)
        return self._known

    def _open_record(self) -> None:
        if self._snapshots is not None:
            from letsbe.agent.rollback_record import Begun

            request, secrets = self._request, self._redactor.met
            self._record.open(
                Begun(type=request.type, payload=request.payload, locks=sorted(self.held), secrets=sorted(secrets))
            )

    def _begin(self, executor: BaseExecutor[Any, Any]) -> None:
        """A step begins, if it may: after a crash none does but those of the rollback."""
        record = self._record
        if record.resumed and not executor.only_steps:
            if not self._phase:
                raise LetsbeError("interrupted", "it had not begun when the process of its run ended")
            if record.was_begun(self._step) and not executor.rerun_safe:
                raise LetsbeError("cut_off", "it was under way when its process ended, and is not safe to run again")
            self._ask_again(executor)
        if self._phase:
            record.note_begun(self._step)
        elif not record.resumed:
            record.drop()  # a chain inside was put back, and this one goes on: a crash now is one in this step
        self._enter(self._step)

    def _ask_again(self, executor: BaseExecutor[Any, Any]) -> None:
        """What allowed a step before the crash may not hold any more."""
        if self._record.resumed and not executor.only_steps:
            self._runner.allow(executor.type)
            self._runner.require_needs(type(executor))

    def _enter(self, step: str, *, written: bool = False) -> None:
        """A step begins: the journal knows before its first effect."""
        if self._snapshots is not None:
            self._snapshots.step = step
        if self._journal is not None and not written:
            self._journal.progress(self._run_id, step, None, "")
            self._runner.show_progress(step, None, "")
