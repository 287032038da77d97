"""The stack that a reload works on: what it declares, what it has, and compose at work on it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from letsbe.errors import LetsbeError
from letsbe.executors import stack_secrets
from letsbe.executors.base import Context
from letsbe.executors.compose_changes import ComposeChanges
from letsbe.executors.stack_config import compose_argv, declared
from letsbe.executors.stack_source import StackSource
from letsbe.host.clock import Deadline
from letsbe.host.readable import Readable
from letsbe.tools.compose_leftovers import leftovers
from letsbe.tools.compose_load import read_stack
from letsbe.tools.compose_model import DeclaredService
from letsbe.tools.compose_project import PROJECT_LABEL
from letsbe.tools.compose_up import name_holder
from letsbe.tools.reload_plan import not_running, with_dependencies
from letsbe.tools.reload_state import Place, by_place

#: How often containers are made when one of the stack's own stands in the way, and the pause between, in seconds.
CREATE_ATTEMPTS = 3
CREATE_AGAIN_S = 0.5


class ReloadStack:
    """A stack found by directory or project. Raises what :class:`StackSource` does, and ``service_unknown``."""

    def __init__(self, context: Context, name: str, services: Sequence[str]) -> None:
        self._context = context
        self._name = name
        #: The services asked for by name; none: all that are active.
        self.named = services
        self._read()
        unknown = [service for service in services if service not in self.services]
        if unknown:
            raise LetsbeError(
                "service_unknown",
                f"the stack in {self.directory} declares no service {unknown[0]!r}",
                hint=f"It declares {', '.join(sorted(self.services)) or 'none'}.",
            )

    def read_again(self) -> None:
        """The files may have changed."""
        self._read()

    @property
    def selected(self) -> list[str]:
        """The services asked for; all that ``up`` starts when none was named."""
        return list(self.named) or [service.name for service in self.model.active(self.found.profiles)]

    def affected(self, names: Sequence[str] = ()) -> list[DeclaredService]:
        """The services that ``up`` is about when given these names or none: they, and what they depend on."""
        return with_dependencies(self.services, names or self.selected, self.found.profiles)

    def containers(self) -> dict[Place, Mapping[str, Any]]:
        """The project's containers now, in full; their secrets are met."""
        engine = self._context.host.engine
        listed = engine.containers(labels={PROJECT_LABEL: self.project})
        found = engine.inspect(one["Id"] for one in listed)
        stack_secrets.meet_in_containers(self._context, found)
        return by_place(found)

    def bring_up(
        self,
        names: Sequence[str],
        *,
        within: Deadline | None = None,
        recreate_all: bool = False,
        remove_orphans: bool = False,
    ) -> None:
        """Make what is missing or differs, and start what does not run; who has ended well stays as it is.

        ``names`` empty: all that are active. What a compose that was killed left half-way is put right first. Raises
        ``up_failed``, ``timed_out``, ``remove_failed`` and ``rename_failed``.
        """

        def left() -> float | None:
            return None if within is None else within.remaining()

        for attempt in range(CREATE_ATTEMPTS):
            self._put_right()
            try:
                self.changes.create(names, timeout_s=left(), recreate_all=recreate_all, remove_orphans=remove_orphans)
                break
            except LetsbeError as error:
                if attempt == CREATE_ATTEMPTS - 1 or not self._came_late(name_holder(error.message)):
                    raise
                time.sleep(CREATE_AGAIN_S)
        idle = not_running(self.affected(names), self.containers())
        if idle:
            self.changes.up(idle, timeout_s=left())

    def _put_right(self) -> None:
        found = leftovers(self._context.host.engine.containers(), self.project)
        if found.remove:
            self.changes.remove(found.remove)
        for container, name in found.rename.items():
            self.changes.rename(container, name)

    def _came_late(self, holder: str | None) -> bool:
        """Whether a container that was in the way is the stack's own, or gone already.

        The engine ends what a killed compose asked of it: it may make a container after compose has looked.
        """
        if holder is None:
            return False
        found = self._context.host.engine.inspect([holder])
        return not found or (found[0]["Config"].get("Labels") or {}).get(PROJECT_LABEL) == self.project

    def images(self, references: Iterable[str]) -> dict[str, str]:
        """Which image each reference means; those that are not here are left out."""
        return {name: image["Id"] for name, image in self._context.host.engine.images(references).items()}

    def owns(self, path: str) -> bool:
        """Whether a file (without symlinks) is the stack's: in its directory, or a compose or env file of it."""
        readable = Readable(self._context.host.files)
        if path.startswith(f"{readable.canonical(self.directory).rstrip('/')}/"):
            return True
        if path in map(readable.canonical, (*self.found.files, *self.found.env_files)):
            return True
        stack = read_stack(self.directory, readable)
        return stack is not None and (stack.uses(path) or path in map(readable.canonical, stack.files))

    def _read(self) -> None:
        self.found = StackSource(self._context).find(self._name)
        self.model = declared(self._context, self.found)
        self.directory = self.found.directory
        self.project = self.model.project
        self.services: dict[str, DeclaredService] = self.model.services
        others = {one.stack.project for one in self.found.members} - {self.project}
        if others and len(others) == len({one.stack.project for one in self.found.members}):
            raise LetsbeError(
                "project_differs",
                f"the containers of {self.directory} are of the project {others.pop()!r}, its files declare"
                f" {self.project!r}",
                hint="Name the stack by its project to keep it; to rename it, take it down under the old name first.",
            )
        argv = compose_argv(self._context.host, self.found)
        self.changes = ComposeChanges(self._context, argv, self.directory)
