"""Finding a stack by its directory or its project, and its containers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.executors import stack_secrets
from letsbe.executors.base import Context
from letsbe.host.readable import Readable
from letsbe.tools.compose_find import stacks_below
from letsbe.tools.compose_load import read_stack
from letsbe.tools.compose_project import Membership, is_named, membership
from letsbe.tools.compose_stack import project_name
from letsbe.tools.dotenv import parse

Json = dict[str, Any]


class Member(Struct, frozen=True, kw_only=True):
    """A container that compose made, in the engine's short form."""

    stack: Membership
    listed: Json

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.listed["Id"])


class FoundStack(Struct, frozen=True, kw_only=True):
    """Where a stack is, and what compose has to be told so that it sees what ``up`` saw."""

    directory: str
    #: What its files name it, whatever its containers are called.
    calls_itself: str = ""
    #: To be given with ``--project-name``; None: as compose calls the stack by itself.
    project: str | None = None
    #: To be given with ``--file``; empty: those that compose finds by itself.
    files: tuple[str, ...] = ()
    #: To be given with ``--env-file``; empty: the directory's ``.env``.
    env_files: tuple[str, ...] = ()
    #: The profiles that are on without ``--profile``: from ``COMPOSE_PROFILES``.
    profiles: tuple[str, ...] = ()
    #: The containers of the directory or the project, those of ``docker compose run`` included.
    members: tuple[Member, ...] = ()


class StackSource:
    """Looks for one executor; the run's redactor knows what secrets it met."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._host = context.host
        self._readable = Readable(context.host.files)

    def members(self, name: str) -> list[Member]:
        """The containers of the stack that ``name`` means, a project or a directory; empty when there are none."""
        canonical = cache(self._readable.canonical)
        found: list[Member] = []
        for listed in self._host.engine.containers():
            stack = membership(listed.get("Labels"))
            if stack is not None and is_named(stack.project, stack.directory, name, canonical):
                found.append(Member(stack=stack, listed=listed))
        return found

    def inspect(self, members: Iterable[Member]) -> list[Json]:
        """Containers in full; their secrets are met."""
        found = self._host.engine.inspect(one.id for one in members)
        stack_secrets.meet_in_containers(self._context, found)
        return found

    def find(self, name: str) -> FoundStack:
        """The stack of a directory (absolute) or a project.

        ``stack_not_found``; ``stack_ambiguous`` when two directories declare the project; ``compose_file_missing``
        when its files are gone; ``path_refused`` when they are not below an allowed root.
        """
        members = self.members(name)
        if name.startswith("/"):
            directory = members[0].stack.directory if members else name.rstrip("/") or "/"
            return self._at(directory, None, members)
        if members:
            return self._at(_newest(members).directory, name, members)
        return self._at(self._declaring(name), None, members)

    def _at(self, directory: str, project: str | None, members: list[Member]) -> FoundStack:
        self._host.files.canonical(directory)  # refuses what is below no root
        found = read_stack(directory, self._readable)
        made = _newest(members) if members else None
        files: tuple[str, ...] = ()
        if made is not None and not set(made.files) <= set(found.files if found else ()):
            # Made with --file: compose would not find these by itself. Unless they are gone.
            files = made.files if all(map(self._is_there, made.files)) else ()
        if not files and found is None:
            raise _no_file(directory, exists=self._is_there(directory), known=bool(members))
        env_files = tuple(path for path in (made.env_files if made else ()) if self._is_there(path))
        return FoundStack(
            directory=directory,
            calls_itself=found.project if found else project_name(directory),
            project=project,
            files=files,
            env_files=env_files,
            profiles=self._profiles(env_files or (f"{directory}/.env",)),
            members=tuple(members),
        )

    def _profiles(self, env_files: tuple[str, ...]) -> tuple[str, ...]:
        value = ""
        for path in env_files:
            value = parse(self._readable.read(path) or b"").values.get("COMPOSE_PROFILES", value)
        return tuple(name.strip() for name in value.split(",") if name.strip())

    def _declaring(self, project: str) -> str:
        roots = [self._readable.canonical(root) for root in self._host.files.roots]
        stacks = [stack for root in roots for stack in stacks_below(root, self._readable)]
        found = sorted({stack.directory for stack in stacks if stack.project == project})
        if len(found) > 1:
            raise LetsbeError(
                "stack_ambiguous",
                f"{' and '.join(found)} declare the project {project!r}",
                hint="Name the stack by its directory, or give one of them another name.",
            )
        if not found:
            raise unknown_stack(project)
        return found[0]

    def _is_there(self, path: str) -> bool:
        try:
            return self._host.files.exists(path)
        except LetsbeError as error:
            if error.code == "path_refused":
                raise
            return False


def _newest(members: list[Member]) -> Membership:
    return max(members, key=lambda one: one.listed.get("Created") or 0).stack


def unknown_stack(name: str) -> LetsbeError:
    """``stack_not_found``: neither a container nor a compose file knows it."""
    return LetsbeError(
        "stack_not_found",
        f"no container and no compose file belongs to a stack {name!r}",
        hint="Name its project, or the absolute path of its directory, below an allowed root.",
    )


def _no_file(directory: str, *, exists: bool, known: bool) -> LetsbeError:
    if not exists and not known:
        return unknown_stack(directory)
    return LetsbeError(
        "compose_file_missing",
        f"no compose file in {directory}" + (", of which there are containers" if known else ""),
        hint="Put the compose file back, or name the directory that it is in now.",
        details={"directory": directory},
    )
