"""The contract of an executor: what it declares, what it is given, what it gives back.

A task type is one class in one file. From its declaration alone come the subcommand with its flags and ``--help``, the
JSON Schema, dispatch, the reference page and the conformance tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host import Host
from letsbe.protocol import Outcome
from letsbe.tools.command_policy import CommandRule
from letsbe.tools.redaction import Redactor


class Payload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what an executor takes. Every field carries a ``Meta(description=...)``.

    ``Meta(extra={"journal": "digest"})`` keeps a field's content out of the journal: its size and SHA-256 stand there.
    Fields of type :class:`letsbe.tools.redaction.Secret` are redacted everywhere.
    """

    def secret_values(self) -> Sequence[str]:
        """Secrets in it that neither their key nor their type shows: in an argument list, for one."""
        return ()


def invalid_field(task_type: str, field: str, message: str) -> LetsbeError:
    """``invalid_payload`` of one field, or part of one (``ports[0].expect``), that the payload's type alone allows."""
    return LetsbeError(
        "invalid_payload",
        f"{message} - at $.{field}",
        hint=f"`letsbe schema {task_type}` shows what it takes.",
        details={"path": f"$.{field}"},
    )


class Data(Struct, kw_only=True):
    """Base of what an executor gives: the outcome's ``data``. Every field carries a ``Meta(description=...)``."""


_PayloadClass = type[Payload]
_DataClass = type[Data]

P = TypeVar("P", bound=Payload)
D = TypeVar("D", bound=Data)


class ExecutionResult(Struct, Generic[D], kw_only=True):
    """What :meth:`BaseExecutor.execute` returns.

    A run that did something and then failed returns ``error`` beside ``data`` rather than raising, so that what was
    done is still told; a failure with nothing to tell is raised as :class:`LetsbeError`.
    """

    data: D
    changed: bool = False
    error: LetsbeError | None = None
    warnings: list[str] = []


class Rights(Struct, frozen=True, kw_only=True):
    """What the host's policy grants the run's origin beyond the executor itself."""

    commands: tuple[CommandRule, ...] = ()
    reveal: bool = False
    output_bytes: int = 65_536
    file_bytes: int = 5 * 1024 * 1024


class Step(Struct, frozen=True, kw_only=True):
    """A validated task inside another one: see :class:`Steps`."""

    id: str
    executor: BaseExecutor[Any, Any]
    payload: Payload


class PutBack(Struct, kw_only=True):
    """Files that hold again what they held before the run, and what could not be put back."""

    restored: list[str] = []
    problems: list[str] = []


class Steps(Protocol):
    """How an executor that chains others reaches the runner: same policy, same journal row, same deadline."""

    def prepare(self, step_id: str, task_type: str, payload: Any, *, deferred: frozenset[str] = frozenset()) -> Step:
        """Validate type, policy and payload; raises what the runner would answer, with the payload's path.

        ``deferred`` names fields whose value is not known yet: they may hold anything, and the step can't be run.
        """

    def data_fields(self, task_type: str) -> tuple[str, ...]:
        """The names in a task type's ``data``."""

    def as_json(self, outcome: Outcome) -> Any:
        """An outcome as JSON values."""

    def putting_back(self, seconds: float, *, resumable: bool, by_steps: bool = False) -> AbstractContextManager[None]:
        """More time, for putting back what was done when the deadline may be over; no cancel disturbs it.

        ``resumable``: all of it is done by :meth:`undo` or, ``by_steps``, by :meth:`run`, and all that was done before
        as well, so that the agent can go on after a crash: it executes the task again, with the same payload, and each
        call gives what it gave before as far as it had come to its end.
        """

    def run(self, step: Step, *, timeout_s: float | None = None) -> Outcome:
        """Run a prepared step; never raises for what happens inside it."""

    def undo(self, step: Step, outcome: Outcome) -> list[str]:
        """Put back what the step changed; returns what could not be put back, empty when all was."""

    def put_files_back(self, wanted: Callable[[str], bool]) -> PutBack:
        """Put back those files that the whole run has changed so far, earlier steps included, and ``wanted`` names."""


class Context(Struct, kw_only=True):
    """What one run is given."""

    host: Host
    redactor: Redactor
    rights: Rights
    steps: Steps
    check: bool = False
    diff: bool = False
    #: Shows something while the run goes on; None where nobody watches.
    live: Callable[[Any], None] | None = None


class BaseExecutor(Generic[P, D]):
    """One task type. Subclass as ``class FileWrite(BaseExecutor[Payload, Data])``; the docstring is its ``--help``."""

    #: The task type, as in the registry and on the wire.
    type: ClassVar[str]
    #: False: only reads; takes no lock, leaves no journal row, may run beside a long task.
    changes: ClassVar[bool] = True
    #: May be run again after a crash left its outcome unknown.
    rerun_safe: ClassVar[bool] = False
    #: Acts only through :class:`Steps`, so that a run that a crash cut off can be gone through once more.
    only_steps: ClassVar[bool] = False
    #: Rises when the payload or data change incompatibly.
    schema_version: ClassVar[int] = 1
    #: What it can't work without: program names, ``root``, ``docker`` (this user may ask the engine), ``compose`` (the
    #: plugin). Looked for before a run takes locks, by ``doctor``, and by ``ECHO --probe``; see letsbe/host/needs.py.
    needs: ClassVar[tuple[str, ...]] = ()
    #: What it does less without; its outcome says so then.
    better_with: ClassVar[tuple[str, ...]] = ()
    #: Why a second identical run may say ``changed: true`` again; empty: it may not.
    not_idempotent: ClassVar[str] = ""
    #: The field of the payload that asks to be shown what comes while the run goes on; by hand only.
    live: ClassVar[str] = ""
    #: One payload that works on the conformance suite's throw-away root: ``{root}`` is replaced (``{root}/stack`` is a
    #: stack), ``{container}`` by the name of a running container, ``{stack}`` by the directory of a stack that is up.
    example: ClassVar[dict[str, Any]]

    payload_type: ClassVar[_PayloadClass]
    data_type: ClassVar[_DataClass]

    def __init_subclass__(cls) -> None:
        cls.payload_type, cls.data_type = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]

    def __init__(self, context: Context) -> None:
        self.context = context
        self.host = context.host

    def locks(self, payload: P) -> set[str]:  # noqa: ARG002
        """Names of the resources that a run needs for itself (``file:/opt/letsbe/x``, ``nginx``)."""
        return set()

    def timeout_s(self, payload: P) -> float | None:  # noqa: ARG002
        """The deadline that the payload asks for, in seconds; None: the host's limit."""
        return None

    def execute(self, payload: P) -> ExecutionResult[D]:
        """Do it. In check mode effects vanish in the host layer; what is returned is what would happen."""
        raise NotImplementedError

    def undo(self, payload: P, data: D) -> list[str]:  # noqa: ARG002
        """Put back what the run did beyond files (those come back from their snapshots); returns what it could not.

        A crash may cut it off at any instant: it is called again then, and finds a part of it done, or all.
        """
        return []
