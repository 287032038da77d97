"""Which containers may have ended, and which volumes and networks services need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from letsbe.tools.compose_model import ComposeModel, DeclaredService, Kind


def is_done(service: DeclaredService, model: ComposeModel, container: dict[str, Any]) -> bool:
    """Whether a container that ended with 0 was to end: nobody starts it again, or others wait for its end."""
    waited_for = any(
        other.depends_on.get(service.name) == "service_completed_successfully" for other in model.services.values()
    )
    policy = (container["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no"
    return waited_for or policy in ("no", "on-failure")


def needed_resources(kind: Kind, services: Iterable[DeclaredService], model: ComposeModel) -> set[str]:
    """The engine's names of the volumes or networks that the services are attached to."""
    known = model.of_kind(kind)
    keys: set[str] = set()
    for service in services:
        definition = service.definition
        if kind == "volumes":
            keys |= {one.get("source") or "" for one in definition.get("volumes") or [] if one.get("type") == "volume"}
        else:
            keys |= set(definition.get("networks") or {})
    return {known[key].name for key in keys if key in known}
