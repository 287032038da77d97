"""What one service of a compose file takes from env files and from compose's environment."""

from __future__ import annotations

import os.path
from contextlib import suppress
from typing import Any

from msgspec import Struct

from letsbe.tools.compose_yaml import as_list, as_map, interpolated, passed_through
from letsbe.tools.interpolation import Lookup, TemplateError, Variable, expand

#: A volume, network, config or secret: its section and its name there.
Resource = tuple[str, str]


class EnvFileUse(Struct, frozen=True):
    """An ``env_file`` entry; ``raw`` when its values are taken as they stand, quotes and all (``format: raw``)."""

    path: str
    required: bool = True
    raw: bool = False


class Service(Struct, kw_only=True):
    """A service and what it reads. ``variables`` are those that its definition, or what it is attached to, names."""

    name: str
    #: The env files (``.env``) that the variables take their values from.
    scopes: list[str]
    env_files: list[EnvFileUse] = []
    variables: list[Variable] = []
    resources: list[Resource] = []


def add_definition(service: Service, definition: dict[Any, Any], directory: str, lookup: Lookup) -> None:
    """Add what one file says of a service; relative paths start from ``directory``."""
    service.env_files += [_env_file(entry, directory, lookup) for entry in as_list(definition.get("env_file"))]
    service.variables += interpolated(definition)
    given = passed_through(definition.get("environment"))
    given += passed_through(as_map(definition.get("build")).get("args"))
    service.variables += [Variable(name) for name in given]
    service.resources += _attached(definition)


def resource_variables(kind: str, definition: Any) -> list[Variable]:
    """The variables that a volume, network, config or secret depends on."""
    found = interpolated(definition)
    name = as_map(definition).get("environment")
    if kind in ("configs", "secrets") and isinstance(name, str):
        found.append(Variable(name))
    return found


def resolved(path: Any, directory: str, lookup: Lookup) -> str:
    """A path of a compose file, interpolated and absolute."""
    return os.path.normpath(os.path.join(directory, expanded(str(path), lookup)))


def expanded(text: str, lookup: Lookup) -> str:
    """A text of a compose file, interpolated; as it stands when compose would refuse it."""
    with suppress(TemplateError):
        return expand(text, lookup)
    return text


def _env_file(entry: Any, directory: str, lookup: Lookup) -> EnvFileUse:
    if isinstance(entry, dict):
        return EnvFileUse(
            resolved(entry.get("path", ""), directory, lookup),
            entry.get("required") is not False,
            entry.get("format") == "raw",
        )
    return EnvFileUse(resolved(entry, directory, lookup))


def _attached(definition: dict[Any, Any]) -> list[Resource]:
    found: list[Resource] = []
    for kind in ("volumes", "configs", "secrets"):
        for entry in as_list(definition.get(kind)):
            source = entry.get("source") if isinstance(entry, dict) else str(entry).partition(":")[0]
            found.append((kind, str(source)))
    networks = definition.get("networks")
    if networks is None and "network_mode" not in definition:
        networks = ["default"]
    found += [("networks", str(name)) for name in (networks if isinstance(networks, dict) else as_list(networks))]
    return found
