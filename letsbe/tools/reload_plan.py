"""Which services a reload is about, and which of their images are to be fetched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from letsbe.tools.compose_model import DeclaredService
from letsbe.tools.reload_state import Place, has_ended_well, is_up


def with_dependencies(
    services: Mapping[str, DeclaredService], names: Iterable[str], profiles: Collection[str]
) -> list[DeclaredService]:
    """Services and all that they depend on, each once; what is optional only while its profile is on, as in compose."""
    found: dict[str, DeclaredService] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found and name in services:
            found[name] = services[name]
            waiting += [
                other
                for other in services[name].depends_on
                if other not in services[name].optional or (other in services and services[other].is_active(profiles))
            ]
    return list(found.values())


def to_pull(
    services: Iterable[DeclaredService], named: Collection[str], policy: str, images: Mapping[str, str]
) -> list[str]:
    """Names of the services whose image is asked of the registry.

    ``always`` asks for those that were named, and for images that are not here. What is built here, and what the
    compose file's own ``pull_policy`` keeps from the registry, is not asked for; neither is what needs no image.
    """
    if policy == "never":
        return []
    remote = [one for one in services if not one.builds and not _keeps_from_registry(one.definition)]
    return [one.name for one in remote if one.image not in images or (policy == "always" and one.name in named)]


def _keeps_from_registry(definition: Mapping[str, Any]) -> bool:
    return definition.get("pull_policy") in ("never", "build") or definition.get("provider") is not None


def places(services: Iterable[DeclaredService], containers: Iterable[Place]) -> list[Place]:
    """Where services have containers, and where they lack some: numbers need not be in a row after scaling."""
    there = list(containers)
    found: list[Place] = []
    for service in services:
        numbers = [number for name, number in there if name == service.name]
        lacking = (number for number in range(1, service.scale + 1) if number not in numbers)
        missing = [next(lacking) for _ in range(service.scale - len(numbers))]
        found += [(service.name, number) for number in sorted(numbers + missing)]
    return found


def not_running(services: Iterable[DeclaredService], containers: Mapping[Place, Mapping[str, Any]]) -> list[str]:
    """The services with a container that neither runs nor has ended well, as a one-shot does."""
    idle = {name for (name, _), one in containers.items() if not is_up(one) and not has_ended_well(one)}
    return [service.name for service in services if service.name in idle and service.scale]


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """References that mean another image than before."""
    return {name: (before.get(name), image) for name, image in after.items() if before.get(name) != image}


def can_be_tagged(reference: str) -> bool:
    """Whether a reference is a name that can mean another image: neither a digest nor an image's id."""
    return "@" not in reference and not reference.startswith("sha256:")
