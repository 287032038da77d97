"""What a reload would do, from comparing; nothing is pulled, and compose is not asked for a dry run."""

from __future__ import annotations

from letsbe.executors.reload_contract import Payload
from letsbe.executors.reload_stack import ReloadStack
from letsbe.tools.reload_plan import places, with_dependencies
from letsbe.tools.reload_state import ServiceChange, changes


def foreseen(stack: ReloadStack, payload: Payload) -> tuple[list[ServiceChange], list[str]]:
    """Each container with what would become of it and why, and what can't be foreseen."""
    now = stack.containers()
    services = with_dependencies(stack.services, stack.selected)
    images = stack.images({service.image for service in services})
    found = {(one.name, one.number): one for one in changes(now, now)}
    for name, number in places(services, now):
        one = found.setdefault((name, number), ServiceChange(name=name, number=number))
        container, image = now.get((name, number)), images.get(stack.services[name].image)
        if container is None:
            one.action, one.reason = "created", "there is no such container"
        elif image is not None and container["Image"] != image:
            one.action, one.reason = "recreated", f"{stack.services[name].image} means another image than it runs"
        elif payload.recreate == "always":
            one.action, one.reason = "recreated", "recreate: always"
        elif container["State"]["Status"] == "exited" and not (one.before and one.before.well):
            one.action, one.reason = "restarted", "it does not run"
    return [found[place] for place in sorted(found)], _unforeseen(payload)


def _unforeseen(payload: Payload) -> list[str]:
    if payload.pull == "never" and not payload.build:
        return []
    return ["the registry was not asked and nothing was built: what new images would change is not foreseen"]
