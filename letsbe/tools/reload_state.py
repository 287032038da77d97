"""What a reload did to the containers of a stack, from the engine's descriptions before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from letsbe.tools.compose_project import container_name, membership
from letsbe.tools.log_time import NS, moment_ns

Action = Literal["none", "created", "recreated", "restarted", "removed"]
#: A service and the number of its container, from 1.
Place = tuple[str, int]

#: In these states a start by compose does nothing.
_UP = ("running", "restarting", "paused")
#: How long a container must run for the engine to forget that it crashed before, in seconds.
SETTLED_S = 10.0


class Instance(Struct, frozen=True, kw_only=True):
    """A container at one moment."""

    container: Annotated[str, Meta(description="Its name.")]
    container_id: Annotated[str, Meta(description="Its id, the first 12 characters.")]
    image: Annotated[str, Meta(description="The image as it was asked for.")]
    image_id: Annotated[str, Meta(description="The image's id.")]
    well: Annotated[
        bool,
        Meta(
            description="It runs, is not unhealthy and was not restarted by the engine just before the run began; or it"
            " has ended with exit code 0 and may stay so."
        ),
    ]


class ServiceChange(Struct, kw_only=True):
    """What became of one container of a service."""

    name: Annotated[str, Meta(description="The service.")]
    number: Annotated[int, Meta(description="The container's number, from 1, where the service is scaled.")] = 1
    action: Annotated[Action, Meta(description="What the run did to it; in check mode what it would do.")] = "none"
    before: Annotated[Instance | None, Meta(description="The container before; null: there was none.")] = None
    after: Annotated[Instance | None, Meta(description="The container now; null: there is none.")] = None
    state: Annotated[str | None, Meta(description="Its state now: running, exited, restarting, ...")] = None
    health: Annotated[str | None, Meta(description="healthy, unhealthy or starting; null: no health check.")] = None
    reason: Annotated[str, Meta(description="Why it is not up for good; in check mode why it would be touched.")] = ""


def by_place(containers: Iterable[Mapping[str, Any]]) -> dict[Place, Mapping[str, Any]]:
    """Full descriptions by service and number, one-off containers left out.

    Of two with the same number, which a killed compose leaves behind, the newer one counts.
    """
    found: dict[Place, Mapping[str, Any]] = {}
    for one in sorted(containers, key=lambda one: str(one.get("Created"))):
        stack = membership(one["Config"].get("Labels"))
        if stack is not None and not stack.one_off:
            found[stack.service, stack.number] = one
    return dict(sorted(found.items()))


def instance(found: Mapping[str, Any], began: float) -> Instance:
    """A container as the outcome of a run that began at a moment (seconds since the epoch) tells it."""
    return Instance(
        container=container_name(found),
        container_id=found["Id"][:12],
        image=found["Config"]["Image"],
        image_id=found["Image"],
        well=is_well(found, began),
    )


def is_up(found: Mapping[str, Any]) -> bool:
    """Whether compose takes a container for started: also one that crashes and is started again, or is paused."""
    return found["State"]["Status"] in _UP


def has_ended_well(found: Mapping[str, Any]) -> bool:
    """Whether a container has ended with exit code 0 and may stay so."""
    state = found["State"]
    policy = (found["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
    return state["Status"] == "exited" and not state.get("ExitCode") and policy in ("no", "on-failure")


def is_well(found: Mapping[str, Any], at: float) -> bool:
    """Whether nothing speaks against a container at a moment (seconds since the epoch), however short it runs.

    Between two crashes every container seems to run: one that the engine has restarted has to run :data:`SETTLED_S`.
    """
    state = found["State"]
    if state["Status"] != "running":
        return has_ended_well(found)
    settled = not found.get("RestartCount") or at - moment_ns(state["StartedAt"], at) / NS >= SETTLED_S
    return settled and (state.get("Health") or {}).get("Status") != "unhealthy"


def has_data(found: Mapping[str, Any]) -> bool:
    """Whether a container can write to a volume or a directory of the host."""
    return any(one["Type"] in ("volume", "bind") and one.get("RW") for one in found.get("Mounts") or [])


def was_started(found: Mapping[str, Any]) -> bool:
    """Whether a container has ever run."""
    return not str(found["State"].get("StartedAt", "")).startswith("0001-")


def changes(
    before: Mapping[Place, Mapping[str, Any]], after: Mapping[Place, Mapping[str, Any]], began: float
) -> list[ServiceChange]:
    """What became of each container since a moment (seconds since the epoch), by ids and states alone.

    Ordered by service and number.
    """
    found = []
    for place in sorted({*before, *after}):
        old, new = before.get(place), after.get(place)
        state = new["State"] if new else {}
        found.append(
            ServiceChange(
                name=place[0],
                number=place[1],
                action=_action(old, new),
                before=instance(old, began) if old else None,
                after=instance(new, began) if new else None,
                state=state.get("Status"),
                health=_health(state),
            )
        )
    return found


def _action(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Action:
    if old is None:
        return "created"
    if new is None:
        return "removed"
    if old["Id"] != new["Id"]:
        return "recreated"
    # What crashes and is started again by the engine has another StartedAt too, but was up all the time.
    started_again = old["State"]["StartedAt"] != new["State"]["StartedAt"] and not is_up(old)
    return "restarted" if started_again else "none"


def _health(state: Mapping[str, Any]) -> str | None:
    status = (state.get("Health") or {}).get("Status")
    return None if status in (None, "", "none") else str(status)
