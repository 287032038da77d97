"""A stack as ``docker compose config`` resolves it: names, services and what they are attached to.

compose writes every ``$`` twice there, so that the output could be read again as a compose file; here they are single.
Paths are absolute, sizes are bytes in strings, env files are merged into ``environment``: it all holds secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

Kind = Literal["networks", "volumes", "configs", "secrets"]
Json = dict[str, Any]


class Resource(Struct, frozen=True, kw_only=True):
    """A network, volume, config or secret."""

    kind: Kind
    #: The key in the compose file, and the name that the engine knows it by.
    key: str
    name: str
    #: Made by somebody else; compose only expects it.
    external: bool
    definition: Json


class DeclaredService(Struct, frozen=True, kw_only=True):
    """A service; ``definition`` is all that compose says of it."""

    name: str
    #: The image asked for; compose's name for what it builds when the file gives none.
    image: str
    builds: bool
    profiles: tuple[str, ...]
    #: How many containers it is to have.
    scale: int
    #: The values, None for a variable that compose was to pass through and that has none.
    environment: dict[str, str | None]
    #: The services that it waits for, each with the condition (``service_started`` and the like).
    depends_on: dict[str, str]
    #: Those of them that compose does without while their profile is off (``required: false``).
    optional: frozenset[str]
    definition: Json

    def is_active(self, profiles: Iterable[str]) -> bool:
        """Whether ``docker compose up`` starts it while these profiles are on."""
        on = set(profiles)
        return not self.profiles or "*" in on or bool(on & set(self.profiles))


class ComposeModel(Struct, frozen=True, kw_only=True):
    """A stack, services of all profiles included."""

    project: str
    services: dict[str, DeclaredService]
    resources: list[Resource]

    def of_kind(self, kind: Kind) -> dict[str, Resource]:
        """The resources of a kind, by their key."""
        return {one.key: one for one in self.resources if one.kind == kind}

    def active(self, profiles: Iterable[str]) -> list[DeclaredService]:
        """The services that ``docker compose up`` starts while these profiles are on."""
        on = set(profiles)
        return [service for service in self.services.values() if service.is_active(on)]


def config_argv(compose: Sequence[str]) -> list[str]:
    """Resolve a stack, with all profiles; prints secrets. ``compose`` is the program with what names the stack."""
    return [*compose, "--profile", "*", "config", "--format", "json"]


def parse_config(output: bytes) -> ComposeModel:
    """What :func:`config_argv` prints. ``ValueError`` when it is something else; the message quotes nothing."""
    try:
        found = _single_dollars(msgspec.json.decode(output))
        project = str(found["name"])
        services = {name: _service(name, one, project) for name, one in (found.get("services") or {}).items()}
        return ComposeModel(project=project, services=services, resources=list(_resources(found)))
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"docker compose printed no configuration ({type(error).__name__})") from None


def _service(name: str, definition: Json, project: str) -> DeclaredService:
    dependencies = definition.get("depends_on") or {}
    return DeclaredService(
        name=name,
        image=definition.get("image") or f"{project}-{name}",
        builds=definition.get("build") is not None,
        profiles=tuple(definition.get("profiles") or ()),
        scale=_scale(definition),
        environment=definition.get("environment") or {},
        depends_on={key: str(one["condition"]) for key, one in dependencies.items()},
        optional=frozenset(key for key, one in dependencies.items() if one.get("required") is False),
        definition=definition,
    )


def _scale(definition: Json) -> int:
    if definition.get("provider") is not None:  # a program of the host provides it
        return 0
    replicas = (definition.get("deploy") or {}).get("replicas")
    scale = definition.get("scale")
    return int(next((one for one in (scale, replicas) if one is not None), 1))


def _resources(found: Json) -> Iterable[Resource]:
    kinds: tuple[Kind, ...] = ("networks", "volumes", "configs", "secrets")
    for kind in kinds:
        for key, definition in (found.get(kind) or {}).items():
            one = definition or {}
            external = bool(one.get("external"))
            yield Resource(kind=kind, key=key, name=one.get("name") or key, external=external, definition=one)


def _single_dollars(node: Any) -> Any:
    if isinstance(node, str):
        return node.replace("$$", "$")
    if isinstance(node, dict):
        return {_single_dollars(key): _single_dollars(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_single_dollars(item) for item in node]
    return node
