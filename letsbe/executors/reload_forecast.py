"""What a reload would do, from comparing; nothing is pulled, and compose is not asked for a dry run, which may act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from letsbe.executors.base import Context
from letsbe.executors.reload_contract import Payload
from letsbe.executors.reload_stack import ReloadStack
from letsbe.executors.stack_drift import peers
from letsbe.host.clock import now
from letsbe.tools.drift import differences
from letsbe.tools.reload_plan import places
from letsbe.tools.reload_state import Action, Place, ServiceChange, changes, has_ended_well, is_up

_MAX_FIELDS = 10


def foreseen(context: Context, stack: ReloadStack, payload: Payload) -> tuple[list[ServiceChange], list[str]]:
    """Each container with what would become of it and why, and what can't be foreseen."""
    here = stack.containers()
    services = stack.affected()
    comparison = _Comparison(context, stack, payload, here)
    found = {(one.name, one.number): one for one in changes(here, here, now())}
    for place in places(services, here):
        one = found.setdefault(place, ServiceChange(name=place[0], number=place[1]))
        one.action, one.reason = comparison.verdict(place)
    for service in services:
        own = [one for one in found.values() if one.name == service.name]
        for one in own[service.scale :]:  # compose takes the highest numbers
            one.action, one.reason = "removed", f"the service is scaled to {service.scale}"
    if payload.remove_orphans:
        for one in found.values():
            if one.name not in stack.services:
                one.action, one.reason = "removed", "its service is no longer declared"
    return [found[place] for place in sorted(found)], _unforeseen(payload)


class _Comparison:
    def __init__(
        self, context: Context, stack: ReloadStack, payload: Payload, here: Mapping[Place, Mapping[str, Any]]
    ) -> None:
        self._stack = stack
        self._payload = payload
        self._here = here
        self._peers = peers(context, stack.model, ((service, one) for (service, _), one in here.items()))
        names = [service.image for service in stack.services.values()]
        self._images = context.host.engine.images([*names, *(one["Image"] for one in here.values())])

    def verdict(self, place: Place) -> tuple[Action, str]:
        """What would become of a container that is declared, and why."""
        container = self._here.get(place)
        if container is None:
            return "created", "there is no such container"
        service = self._stack.services[place[0]]
        own = self._images.get(container["Image"])
        differing = differences(service, self._stack.model, dict(container), own, self._peers)
        if differing:
            fields = [one.field for one in differing]
            more = f" and {len(fields) - _MAX_FIELDS} more" if len(fields) > _MAX_FIELDS else ""
            return "recreated", f"differs from what is declared: {', '.join(fields[:_MAX_FIELDS])}{more}"
        local = self._images.get(service.image)
        if local is not None and local["Id"] != container["Image"]:
            return "recreated", f"{service.image} means another image than it runs"
        if self._payload.recreate == "always":
            return "recreated", "recreate: always"
        if not is_up(container) and not has_ended_well(container):
            return "restarted", "it does not run"
        return "none", ""


def _unforeseen(payload: Payload) -> list[str]:
    if payload.pull == "never" and not payload.build:
        return []
    return ["the registry was not asked and nothing was built: what new images would change is not foreseen"]
