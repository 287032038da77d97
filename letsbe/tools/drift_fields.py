"""What a container is compared by: a flat map from a field to its value as text.

Maps and sets are spread out (``environment.TZ``, ``ports.80/tcp``), so that a difference names the one entry that
differs. A field that is not there is at its default; both sides write defaults the same way, as nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Fields = dict[str, str]

#: Written by compose itself, different for every container, or left by a build.
_OWN_LABELS = ("com.docker.compose.", "desktop.docker.io/")


def put(fields: Fields, name: str, value: Any) -> None:
    """Set a field unless the value is a default: empty, zero or false."""
    if value in (None, "", 0, False) or value == [] or value == {}:
        return
    if isinstance(value, bool):
        fields[name] = "yes"
    elif isinstance(value, (list, dict)):
        fields[name] = json.dumps(value, ensure_ascii=False, sort_keys=True)
    else:
        fields[name] = str(value)


def put_each(fields: Fields, name: str, values: Iterable[str]) -> None:
    """A field for each member of a set."""
    for value in values:
        fields[f"{name}.{value}"] = value


def put_map(fields: Fields, name: str, values: Mapping[str, Any]) -> None:
    """A field for each entry, empty values included."""
    for key, value in values.items():
        fields[f"{name}.{key}"] = str(value)


def environment(pairs: Iterable[str]) -> dict[str, str | None]:
    """Of ``NAME=value``; None where there is a name alone."""
    found: dict[str, str | None] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        found[name] = value if sign else None
    return found


def own_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Labels that are not compose's."""
    return {key: value for key, value in (labels or {}).items() if not key.startswith(_OWN_LABELS)}


def capability(name: str) -> str:
    """``NET_ADMIN``, however it was written."""
    return name.upper().removeprefix("CAP_")


def option(text: str) -> str:
    """A security option as the engine takes it, ``label=disable``; a seccomp profile's text is left out."""
    name, sign, value = text.partition("=") if "=" in text else text.partition(":")
    if name == "seccomp" and value != "unconfined":
        return "seccomp"
    return f"{name}={value}" if sign and (name, value) != ("no-new-privileges", "true") else name


def exposed_ports(texts: Iterable[str]) -> set[str]:
    """``3000/tcp`` and so on; ranges, which the engine keeps as compose gave them, are spread out."""
    found: set[str] = set()
    for text in texts:
        ports, _, protocol = text.partition("/")
        first, _, last = ports.partition("-")
        found |= {f"{port}/{protocol or 'tcp'}" for port in range(int(first), int(last or first) + 1)}
    return found


def host_entry(text: str) -> str:
    """An entry of ``extra_hosts`` as ``name=address``."""
    name, _, address = text.partition("=") if "=" in text else text.partition(":")
    return f"{name}={address.strip('[]')}"


def restart_policy(name: str, most: Any = 0) -> str:
    """``on-failure:3``; empty for none."""
    condition = {"none": "", "no": "", "any": "always"}.get(name, name)
    return f"{condition}:{most}" if condition and most else condition


def mount(kind: str, source: str, *, read_only: bool) -> str:
    """What is mounted at a path."""
    return " ".join(word for word in (kind, source, "read-only" if read_only else "") if word)
