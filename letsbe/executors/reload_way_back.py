"""The way back of a reload: the images that ran before, the files as they were, and the stack up again."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.executors.readiness_wait import wait_until_ready
from letsbe.executors.reload_contract import ImageChange, Payload
from letsbe.executors.reload_stack import ReloadStack
from letsbe.host.clock import Deadline
from letsbe.tools.database_image import can_go_back, database
from letsbe.tools.reload_plan import can_be_tagged
from letsbe.tools.reload_state import Instance, Place, ServiceChange, has_data, was_started

_NEWER_FILES = (
    "It was not touched. Mend the new version, or restore its data from a backup and reload with the old one;"
    " rollback_databases: true goes back all the same."
)


class WentBack(Struct, kw_only=True):
    """How going back ended; all is as before when there are no problems."""

    restored: list[str] = []
    problems: list[str] = []
    #: What to do when it was not even begun.
    refused: str = ""


class WayBack:
    """From what ``services`` and ``images`` tell of the state before a reload, which is all that it needs."""

    def __init__(
        self,
        context: Context,
        stack: ReloadStack,
        payload: Payload,
        services: Sequence[ServiceChange],
        images: Sequence[ImageChange],
    ) -> None:
        self._context = context
        self._stack = stack
        self._payload = payload
        self._before = {(one.name, one.number): one.before for one in services if one.before is not None}
        self._images = images

    def go(self) -> WentBack:
        """Go back and look whether all is as before; never raises for what stands in the way."""
        went = WentBack()
        try:
            went.problems = [] if self._payload.rollback_databases else self._newer_data()
            if went.problems:
                went.refused = _NEWER_FILES
                return went
            self._remove_new()  # while the files that name them are there
            files = self._context.steps.put_files_back(self._stack.owns)
            went.restored, went.problems = list(dict.fromkeys(files.restored)), files.problems
            if self._before:
                self._stack.read_again()
            touched = self._touched()
            self.tag_images_back(touched)
            went.problems += self._up(touched)
        except LetsbeError as error:
            went.problems.append(error.message)
        return went

    def tag_images_back(self, touched: dict[Place, Instance] | None = None) -> None:
        """Let each name mean the image that it meant before, and that of a container the one that it ran."""
        wanted = {one.image: one.before for one in self._images if one.before is not None}
        for (service, _), before in (touched or {}).items():
            declared = self._stack.services.get(service)
            wanted[declared.image if declared else before.image] = before.image_id
        here = self._stack.images(wanted)
        for reference, image_id in wanted.items():
            if here.get(reference) != image_id and can_be_tagged(reference):
                self._stack.changes.tag(image_id, reference)

    def _touched(self) -> dict[Place, Instance]:
        """The containers before that are not there any more."""
        now = self._stack.containers()
        return {
            place: before
            for place, before in self._before.items()
            if place not in now or not now[place]["Id"].startswith(before.container_id)
        }

    def _newer_data(self) -> list[str]:
        """Databases that have started in another version on data that stays."""
        found = []
        now = self._stack.containers()
        old_images = self._context.host.engine.images(one.image_id for one in self._touched().values())
        for place, before in self._touched().items():
            new = now.get(place)
            if new is None or not was_started(new) or not has_data(new):
                continue
            images = self._context.host.engine.images([new["Image"]])
            old = database(old_images.get(before.image_id), before.image)
            newer = database(images.get(new["Image"]), new["Config"]["Image"])
            if not can_go_back(old, newer):
                found.append(f"{place[0]} was {old} and has run as {newer}: its files may be converted")
        return found

    def _remove_new(self) -> None:
        """Take away the containers of services that had none."""
        services = {service for service, _ in self._before}
        new = [one["Id"] for (service, _), one in self._stack.containers().items() if service not in services]
        if new:
            self._stack.changes.remove(new)

    def _up(self, touched: dict[Place, Instance]) -> list[str]:
        declared = {place: one for place, one in touched.items() if place[0] in self._stack.services}
        problems = [f"{place[0]} is declared no longer" for place in touched if place not in declared]
        if not declared:
            return problems
        timeout_s = self._payload.wait_timeout_s
        scaled = {place[0] for place in self._stack.containers() if place not in self._before}
        names = {place[0] for place in declared} | (scaled & {*self._stack.services})
        self._stack.bring_up(sorted(names), within=Deadline(timeout_s))
        well = [place for place, one in declared.items() if one.well]
        waited = wait_until_ready(
            self._context.host, self._stack.containers, well, stable_s=self._payload.stable_s, timeout_s=timeout_s
        )
        problems += [f"{service} is not up: {reason}" for (service, _), reason in waited.not_ready.items()]
        now = self._stack.containers()
        for place, before in declared.items():
            if place in now and now[place]["Image"] != before.image_id:
                problems.append(f"{place[0]} runs {now[place]['Image'][:19]}, not {before.image_id[:19]}")
        return problems
