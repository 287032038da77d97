"""A row of the matrix: one fault, what letsbe must say of it, and what a plain command says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from letsbe.protocol import Outcome
from tests.bad_engines import Making

if TYPE_CHECKING:
    from tests.faults.docker.scene import Scene

Json = dict[str, Any]


@dataclass(frozen=True)
class Says:
    """What a task must come to. ``part`` picks the essential of its outcome, which must equal ``expected``.

    In payloads and commands, ``{project}``, ``{service}``, ``{container}``, ``{dir}`` and ``{port}`` (where the
    service's first port is published) are replaced.
    """

    task: str
    payload: Json
    part: Callable[[Outcome, Json], Any]
    expected: Any
    status: str = "succeeded"
    code: str | None = None
    changed: bool = False
    #: Limit of the run, in seconds.
    timeout_s: float | None = None
    #: Happens once letsbe shows something, for tasks that follow; they end when all that is expected was shown.
    during: Callable[[Scene, str], object] | None = None


@dataclass(frozen=True)
class Peer:
    """A plain command for the same question, run in the stack's directory; ``says`` is searched in what it prints."""

    command: str
    says: str
    #: Its exit code; that 15 and 18 of a compose are 1 with one from 2.40 on.
    rc: int = 0
    #: For the printed table, when the expression is no text to read.
    shown: str = ""
    #: It is asked before letsbe is.
    first: bool = False

    def ends_with(self, code: int) -> bool:
        """Whether the command ended as expected."""
        return code == self.rc or (code == 1 and self.rc in (15, 18))


@dataclass(frozen=True)
class Case:
    """A service, the fault that befalls it, and what is said of it.

    Cases of one module share a stack, which has a service per case, named like the case; a case ``alone`` has a stack
    of its own, because its fault or what its task changes is the whole stack's.
    """

    name: str
    says: tuple[Says, ...]
    peer: Peer
    #: What the service adds to :data:`tests.faults.docker.scene.BASE`, in YAML's flow style. ``{secret}`` is one of the
    #: stack's, ``{unique}`` a name, ``{taken}`` a port that something else listens on.
    service: str = ""
    #: Likewise, of a second service ``{service}-behind``, which is not touched by what is declared ``later``.
    behind: str | None = None
    #: Lines of a Dockerfile: ``{image}`` is an image of them in a registry of the case's own, alone.
    image: tuple[str, ...] | None = None
    #: What is written there instead once the stack is up; ``None``: the service is not declared any more.
    later: str | None = "same"
    #: Volumes and networks that the stack declares for it.
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    #: In the stack's directory.
    files: dict[str, str] = field(default_factory=dict)
    fault: Callable[[Scene, str], object] | None = None
    #: True of the container, as the engine describes it, once the fault shows.
    until: Callable[[Json], bool] | None = None
    alone: bool = False
    #: The engine that letsbe and the plain command meet, made in a directory.
    engine: Making | None = None
    #: What of :meth:`tests.faults.docker.scene.Scene.machine` may be another afterwards; the rest stays as it was.
    touches: tuple[str, ...] = ()
    #: Asserts that what is touched is left as promised.
    left: Callable[[Scene, str], object] | None = None


class Row(NamedTuple):
    """What the printed table says of a case."""

    case: str
    letsbe: str
    peer: str


class AtLeast:
    """Equals every number from this one on."""

    def __init__(self, least: float) -> None:
        self.least = least

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and other >= self.least

    def __repr__(self) -> str:
        return f">={self.least:g}"


class Has:
    """Equals every text in which a regular expression is found."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.search(self.pattern, other, re.S) is not None

    def __repr__(self) -> str:
        return f"/{self.pattern}/"


def filled(value: Any, names: Json) -> Any:
    """A payload or word with its placeholders replaced; one that stands alone keeps its value's type."""
    if isinstance(value, dict):
        return {key: filled(one, names) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(one, names) for one in value)
    if isinstance(value, str):
        for name, one in names.items():
            if value == f"{{{name}}}":
                return one
            value = value.replace(f"{{{name}}}", str(one))
    return value
