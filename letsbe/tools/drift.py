"""Where a container differs from what its service declares."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from letsbe.tools.compose_model import ComposeModel, DeclaredService
from letsbe.tools.drift_actual import actual_fields
from letsbe.tools.drift_declared import declared_fields
from letsbe.tools.drift_fields import Fields
from letsbe.tools.drift_mounts import same_mount, takes_from_outside

#: What the engine decides by its own configuration when a service says nothing.
_ENGINE_S = re.compile(r"shm_size|runtime|logging(\..*)?|ipc|memory_swap")
#: From the configuration of the docker client that brought the stack up.
_PROXIES = re.compile(r"environment\.(https?|ftp|no|all)_proxy", re.I)
_ALIAS = re.compile(r"networks\..*\.aliases\.")

Json = dict[str, Any]


class Difference(Struct, frozen=True, kw_only=True):
    """A field that differs; None where one side has nothing."""

    field: str
    declared: str | None
    actual: str | None


def differences(
    service: DeclaredService, model: ComposeModel, container: Json, image: Json | None, peers: dict[str, str]
) -> list[Difference]:
    """In the order of the fields' names. ``image`` is the container's own, not what its name leads to now."""
    declared = declared_fields(service, model, (image or {}).get("Config") or {}, peers)
    actual = actual_fields(container)
    _settle_names(declared, actual, container)
    found = []
    for field in sorted({*declared, *actual}):
        left, right = declared.get(field), actual.get(field)
        same = same_mount(left, right, service) if field.startswith("mounts.") else left == right
        if same or (left is None and _may_be_more(field, service, container, image)):
            continue
        found.append(Difference(field=field, declared=left, actual=right))
    if container["Config"]["Image"] != service.image:
        found.append(Difference(field="image", declared=service.image, actual=container["Config"]["Image"]))
    return found


def _settle_names(declared: Fields, actual: Fields, container: Json) -> None:
    """A container without a name of its own is called by its id, or like whoever it shares the network with."""
    shared = "network_mode" in actual or "uts" in actual
    for field in ("hostname", "domainname"):
        if field not in declared and (shared or actual.get(field) == container["Id"][:12]):
            actual.pop(field, None)


def _may_be_more(field: str, service: DeclaredService, container: Json, image: Json | None) -> bool:
    """Whether a field that is not declared says nothing about the service."""
    if image is None or _ENGINE_S.fullmatch(field) or _PROXIES.fullmatch(field):
        return True
    if field.startswith("mounts.") and takes_from_outside(service):
        return True
    if _ALIAS.match(field):
        hostname = container["Config"].get("Hostname")
        return field.rpartition(".aliases.")[2] in (hostname, service.definition.get("hostname"))
    return False
