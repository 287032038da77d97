"""COMPOSITE: a chain of steps that succeeds whole or is put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult, Step
from letsbe.protocol import Outcome
from letsbe.tools import references

MAX_STEPS = 50
MAX_NESTING = 3
#: What putting back may take beyond the deadline, in seconds.
ROLLBACK_S = 300.0
#: The error of a rollback step that a crash cut off and that is not run again: the others have to run all the same.
CUT_OFF = "cut_off"

Scalar = str | int | float | bool


class When(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition on what an earlier step gave: no expressions, one comparison."""

    ref: Annotated[str, Meta(description="A reference: ${steps.ID.changed}, ${vars.NAME}.", max_length=500)]
    equals: Annotated[Scalar | None, Meta(description="The value it must have.")] = True


class StepSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step."""

    id: Annotated[str, Meta(description="Name for references and reports.", pattern="^[a-z][a-z0-9_-]{0,62}$")]
    type: Annotated[str, Meta(description="Task type.", max_length=64)]
    payload: Annotated[dict[str, Any], Meta(description="Its payload, with references.")] = {}
    when: Annotated[When | None, Meta(description="Skip the step unless this holds.")] = None
    on_error: Annotated[Literal["stop", "continue"], Meta(description="What a failure of this step means.")] = "stop"
    timeout_s: Annotated[float, Meta(description="Deadline of this step, in seconds.", gt=0, le=86_400)] | None = None


class Payload(base.Payload, frozen=True):
    """What COMPOSITE takes."""

    steps: Annotated[
        list[StepSpec], Meta(description="The steps, in order; at most 50.", min_length=1, max_length=MAX_STEPS)
    ]
    vars: Annotated[dict[str, Scalar], Meta(description="Values for ${vars.NAME}.", max_length=100)] = {}
    rollback_on_error: Annotated[bool, Meta(description="Put back what was done when a step fails.")] = True
    rollback: Annotated[
        list[StepSpec],
        Meta(description="Steps to run on failure instead of undoing in reverse.", max_length=MAX_STEPS),
    ] = []


class StepReport(Struct, kw_only=True):
    """What became of one step."""

    id: Annotated[str, Meta(description="Its name.")]
    state: Annotated[
        Literal["ok", "failed", "skipped", "rolled_back"], Meta(description="What became of it in the end.")
    ]
    outcome: Annotated[Outcome | None, Meta(description="Its outcome; null when it did not run.")] = None


class Data(base.Data):
    """What COMPOSITE gives."""

    steps: Annotated[list[StepReport], Meta(description="Each step, in order.")]
    failed_step: Annotated[str | None, Meta(description="The step that stopped it.")] = None
    rolled_back: Annotated[bool, Meta(description="All that was done is put back.")] = False
    rollback: Annotated[list[StepReport], Meta(description="The explicit rollback steps that ran.")] = []
    not_put_back: Annotated[list[str], Meta(description="What could not be put back, and why.")] = []


class Composite(BaseExecutor[Payload, Data]):
    """Run steps in order; put back what was done when one fails.

    Every payload is validated before the first step, and the locks of all steps are taken at the start. A later step
    may refer to what an earlier one gave: ${steps.ID.data.field[0]}.
    """

    type = "COMPOSITE"
    changes = True
    only_steps = True
    example = {
        "steps": [
            {"id": "write", "type": "FILE_WRITE", "payload": {"path": "{root}/composite.txt", "content": "one\n"}},
            {
                "id": "look",
                "type": "FILE_INSPECT",
                "payload": {"path": "${steps.write.data.path}", "mode": "stat"},
            },
        ]
    }

    def locks(self, payload: Payload) -> set[str]:
        """The locks of all steps, as far as their payloads are known now."""
        names: set[str] = set()
        for spec in (*self._validate(payload.steps, payload), *payload.rollback):
            step, deferred = self._prepare_early(spec, payload)
            if step.executor.changes and not deferred:
                names |= step.executor.locks(step.payload)
        return names

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Run the steps; on a failure put back what was done."""
        for spec in (*self._validate(payload.steps, payload), *payload.rollback):
            self._prepare_early(spec, payload)
        chain = _Chain(self, payload)
        error = chain.run(payload.steps)
        data = Data(steps=chain.reports, failed_step=chain.failed_step)
        if error is not None and payload.rollback_on_error:
            with self.context.steps.putting_back(ROLLBACK_S, resumable=True, by_steps=bool(payload.rollback)):
                self._roll_back(payload, chain, data)
        changed = any(report.outcome is not None and report.outcome.changed for report in data.steps)
        return ExecutionResult(
            data=data, changed=changed and not data.rolled_back, error=error, warnings=chain.warnings(data)
        )

    def undo(self, payload: Payload, data: Data) -> list[str]:
        """Put back what the steps did beyond files, in reverse."""
        problems: list[str] = []
        chain = _Chain(self, payload)
        chain.reports = data.steps
        for spec, report in reversed(list(zip(payload.steps, data.steps, strict=False))):
            if report.outcome is not None and report.outcome.changed and report.state == "ok":
                step = self.context.steps.prepare(spec.id, spec.type, chain.resolved(spec))
                problems += self.context.steps.undo(step, report.outcome)
        return problems

    def _roll_back(self, payload: Payload, chain: _Chain, data: Data) -> None:
        if payload.rollback:
            given = _Chain(self, payload, chain.reports)
            failure = given.run(payload.rollback, past=(CUT_OFF,))
            data.rollback = given.reports[len(chain.reports) :]
            data.not_put_back += [
                f"rollback step {report.id}: {report.outcome.error.message}"
                for report in data.rollback
                if report.outcome is not None and report.outcome.error and report.outcome.error.code == CUT_OFF
            ]
            if failure is not None:
                data.not_put_back.append(f"rollback step {given.failed_step}: {failure.message}")
            return
        for step, report in reversed(chain.ran):
            if report.outcome is None or not step.executor.changes:
                continue
            problems = self.context.steps.undo(step, report.outcome)
            data.not_put_back += [f"step {report.id}: {problem}" for problem in problems]
            if not problems and report.state == "ok":
                report.state = "rolled_back"
        data.rolled_back = not data.not_put_back

    def _validate(self, steps: Sequence[StepSpec], payload: Payload) -> Sequence[StepSpec]:
        """Ids, nesting and references of all steps; ``invalid_payload`` with the step's path."""
        seen: set[str] = set()
        for number, spec in enumerate((*steps, *payload.rollback)):
            where = f"$.steps[{number}]" if number < len(steps) else f"$.rollback[{number - len(steps)}]"
            if spec.id in seen:
                raise _invalid(where, f"step id {spec.id!r} stands twice", "Give each step a name of its own.")
            if _depth(spec) > MAX_NESTING:
                raise _invalid(where, f"COMPOSITE nested deeper than {MAX_NESTING}", "Flatten it.")
            try:
                found = list(references.find([spec.payload, spec.when.ref if spec.when else ""]))
            except LetsbeError as error:
                raise _invalid(where, error.message, error.hint) from None
            for root, name, path in found:
                self._check_reference(where, root, name, path, seen, payload)
            seen.add(spec.id)
        return steps

    def _check_reference(
        self, where: str, root: str, name: str, path: list[str | int], seen: set[str], payload: Payload
    ) -> None:
        spelled = references.spell(root, name, path)
        if root == "vars":
            if name not in payload.vars:
                raise _invalid(where, f"{spelled}: no such variable", f"vars has {', '.join(payload.vars) or 'none'}.")
            return
        if name not in seen:
            raise _invalid(where, f"{spelled}: no earlier step {name!r}", "A step refers to steps before it only.")
        spec = next(spec for spec in (*payload.steps, *payload.rollback) if spec.id == name)
        fields = self.context.steps.data_fields(spec.type)
        if path[0] == "data" and len(path) > 1 and path[1] not in fields:
            raise _invalid(where, f"{spelled}: {spec.type} gives no {path[1]!r}", f"It gives {', '.join(fields)}.")

    def _prepare_early(self, spec: StepSpec, payload: Payload) -> tuple[Step, bool]:
        """Prepare a step before anything ran; fields that refer to other steps are left open."""
        deferred = frozenset(
            key for key, value in spec.payload.items() if any(root == "steps" for root, _, _ in references.find(value))
        )
        known = {
            key: value if key in deferred else references.resolve(value, _Chain(self, payload).look_up)
            for key, value in spec.payload.items()
        }
        return self.context.steps.prepare(spec.id, spec.type, known, deferred=deferred), bool(deferred)


class _Chain:
    """The run of a list of steps."""

    def __init__(self, composite: Composite, payload: Payload, before: Sequence[StepReport] = ()) -> None:
        self._steps = composite.context.steps
        self._payload = payload
        self.reports: list[StepReport] = list(before)
        self.ran: list[tuple[Step, StepReport]] = []
        self.failed_step: str | None = None

    def run(self, specs: Sequence[StepSpec], *, past: Sequence[str] = ()) -> LetsbeError | None:
        """Run steps until one that matters fails; returns why. Errors of the codes in ``past`` do not stop it."""
        error: LetsbeError | None = None
        for spec in specs:
            if error is not None or not self._wanted(spec):
                self.reports.append(StepReport(id=spec.id, state="skipped"))
                continue
            problem = self._run_one(spec)
            if problem is not None and spec.on_error == "stop" and problem.details["code"] not in past:
                error, self.failed_step = problem, spec.id
        return error

    def look_up(self, root: str, name: str, path: list[str | int]) -> Any:
        """What a reference stands for now."""
        if root == "vars":
            return self._payload.vars[name]
        spelled = references.spell(root, name, path)
        report = next((report for report in self.reports if report.id == name), None)
        if report is None or report.outcome is None:
            raise LetsbeError(
                "unresolved_reference", f"{spelled}: step {name} did not run", hint="Give this step a `when`."
            )
        hint = f"`letsbe schema {report.outcome.type} --data` shows what step {name} gives."
        return references.descend(self._steps.as_json(report.outcome), path, spelled, hint)

    def resolved(self, spec: StepSpec) -> Any:
        """The payload of a step with its references replaced."""
        return references.resolve(spec.payload, self.look_up)

    def warnings(self, data: Data) -> list[str]:
        """What a reader of the verdict alone should know."""
        found = [
            f"step {report.id} failed, which its on_error allows: {report.outcome.error.message}"
            for report in data.steps
            if report.state == "failed" and report.id != data.failed_step and report.outcome and report.outcome.error
        ]
        return found + [f"not put back: {problem}" for problem in data.not_put_back]

    def _wanted(self, spec: StepSpec) -> bool:
        if spec.when is None:
            return True
        try:
            return bool(references.resolve(spec.when.ref, self.look_up) == spec.when.equals)
        except LetsbeError:
            return False  # it refers to a step that was skipped

    def _run_one(self, spec: StepSpec) -> LetsbeError | None:
        try:
            step = self._steps.prepare(spec.id, spec.type, self.resolved(spec))
        except LetsbeError as error:
            self.reports.append(StepReport(id=spec.id, state="failed"))
            return _failure(spec, error.code, error.message, error.hint)
        outcome = self._steps.run(step, timeout_s=spec.timeout_s)
        report = StepReport(id=spec.id, state="ok" if outcome.success else "failed", outcome=outcome)
        self.reports.append(report)
        self.ran.append((step, report))
        if outcome.error is None:
            return None
        return _failure(spec, outcome.error.code, outcome.error.message, outcome.error.hint)


def _failure(spec: StepSpec, code: str, message: str, hint: str) -> LetsbeError:
    """The whole fails as its step did; a refusal or a usage error of a step is a failure of the whole all the same."""
    kept = code if code in ("timed_out", "cancelled", "interrupted", "internal") else "step_failed"
    return LetsbeError(
        kept, f"step {spec.id} ({spec.type}): {message}", hint=hint, details={"step": spec.id, "code": code}
    )


def _depth(spec: StepSpec) -> int:
    """How many COMPOSITEs stand inside each other, the outermost included."""
    return 1 + _inner_depth(spec.type, spec.payload)


def _inner_depth(kind: str, payload: Any) -> int:
    if kind != "COMPOSITE" or not isinstance(payload, dict):
        return 0
    steps = [*_list(payload.get("steps")), *_list(payload.get("rollback"))]
    inner = [_inner_depth(str(step.get("type")), step.get("payload")) for step in steps if isinstance(step, dict)]
    return 1 + max(inner, default=0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _invalid(where: str, message: str, hint: str) -> LetsbeError:
    return LetsbeError("invalid_payload", f"{message} - at {where}", hint=hint, details={"path": where})
