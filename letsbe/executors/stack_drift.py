"""How a stack's containers differ from what their services declare, with no secret told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from letsbe.executors.base import Context
from letsbe.executors.stack_source import Json
from letsbe.host.bound import bound_now
from letsbe.protocol import epoch
from letsbe.tools.compose_model import ComposeModel
from letsbe.tools.compose_project import Membership, container_name
from letsbe.tools.drift import NAMESPACES, Difference, differences
from letsbe.tools.drift_mounts import bound_files
from letsbe.tools.redaction import REDACTED
from letsbe.tools.secret_values import is_secret

_MAX_SHOWN = 500
_FOUND = {
    "replaced": "what was there before: it was replaced, and the container still has the old one",
    "newer": "perhaps what was there before: it was changed after the container had started",
    "gone": "what was there before: nothing is there now",
}


class Drift(Struct, kw_only=True):
    """A field in which a container differs."""

    service: Annotated[str, Meta(description="The service.")]
    container: Annotated[str | None, Meta(description="The container; null when it is about all of them.")] = None
    field: Annotated[str, Meta(description="The field: command, environment.TZ, ports.80/tcp, ...")]
    declared: Annotated[
        str | None, Meta(description="What the compose files and the image say, secrets redacted; null: nothing.")
    ] = None
    actual: Annotated[str | None, Meta(description="What the container has, likewise.")] = None


class OutdatedImage(Struct, kw_only=True):
    """A container whose image's name was given to another image since it was made."""

    service: Annotated[str, Meta(description="The service.")]
    container: Annotated[str, Meta(description="The container.")]
    image: Annotated[str, Meta(description="The image's name.")]
    actual: Annotated[str, Meta(description="Id of the image that it runs.")]
    local: Annotated[str | None, Meta(description="Id of the image that has the name now; null: none has it.")] = None


def peers(context: Context, model: ComposeModel, own: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Ids of the containers whose namespaces services may share, by ``service:NAME`` and ``container:NAME``.

    ``own`` are the stack's containers, each with its service.
    """
    found: dict[str, str] = {}
    for service, one in own:
        found.setdefault(f"service:{service}", one["Id"])
    modes = [str(one.definition.get(field)) for one in model.services.values() for field in NAMESPACES]
    if any(mode.startswith("container:") for mode in modes):
        everyone = context.host.engine.containers()
        found |= {f"container:{name.removeprefix('/')}": one["Id"] for one in everyone for name in one["Names"]}
    return found


class StackDrift:
    """Compares the containers of one stack with its model."""

    def __init__(self, context: Context, model: ComposeModel, containers: list[tuple[Json, Membership]]) -> None:
        self._context = context
        self._model = model
        ordered = sorted(containers, key=lambda one: (one[1].service, one[1].number))
        self._containers = [one for one in ordered if one[1].service in model.services]
        self._peers = peers(context, model, ((member.service, found) for found, member in self._containers))
        names = [model.services[member.service].image for _, member in self._containers]
        self._images = context.host.engine.images([*(found["Image"] for found, _ in self._containers), *names])

    def differences(self) -> list[Drift]:
        """Field by field; what is mounted is looked at too."""
        found: list[Drift] = []
        for container, member in self._containers:
            service = self._model.services[member.service]
            image = self._images.get(container["Image"])
            own = differences(service, self._model, container, image, self._peers)
            own += self._bound(container, member.service)
            found += [self._told(one, member.service, container) for one in own]
        return found

    def outdated_images(self) -> list[OutdatedImage]:
        """Containers that ask for the image that is declared, and run another one than has its name now."""
        found: list[OutdatedImage] = []
        for container, member in self._containers:
            name = self._model.services[member.service].image
            local = self._images.get(name)
            if container["Config"]["Image"] == name and (local is None or local["Id"] != container["Image"]):
                found.append(
                    OutdatedImage(
                        service=member.service,
                        container=container_name(container),
                        image=name,
                        actual=container["Image"],
                        local=local["Id"] if local else None,
                    )
                )
        return found

    def _bound(self, container: Json, service: str) -> list[Difference]:
        pid = container["State"].get("Pid") or 0
        if not pid:
            return []
        started = epoch(container["State"]["StartedAt"][:19] + "Z")
        mounted = {one["Destination"]: one.get("Source") for one in container.get("Mounts") or []}
        found: list[Difference] = []
        for target, source in bound_files(self._model.services[service], self._model).items():
            if mounted.get(target) != source:
                continue  # told as a mount that differs
            actual = _FOUND.get(bound_now(source, pid, target, started))
            if actual is not None:
                found.append(Difference(field=f"mounts.{target}", declared=f"bind {source}", actual=actual))
        return found

    def _told(self, one: Difference, service: str, container: Json) -> Drift:
        return Drift(
            service=service,
            container=container_name(container),
            field=one.field,
            declared=self._shown(one.field, one.declared),
            actual=self._shown(one.field, one.actual),
        )

    def _shown(self, field: str, value: str | None) -> str | None:
        if value is None:
            return None
        kind, _, name = field.partition(".")
        if kind in ("environment", "labels") and is_secret(name, value):
            return REDACTED
        return self._context.redactor.text(value)[:_MAX_SHOWN]
