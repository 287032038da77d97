"""Where a container differs from what its service declares."""

from __future__ import annotations

import math
import re
from typing import Any

from msgspec import Struct

from letsbe.tools.compose_model import ComposeModel, DeclaredService
from letsbe.tools.drift_actual import actual_fields, own_names
from letsbe.tools.drift_declared import declared_fields
from letsbe.tools.drift_fields import Fields
from letsbe.tools.drift_mounts import same_mount, takes_from_outside

#: What the engine decides by its own configuration when a service says nothing.
_ENGINE_S = re.compile(r"shm_size|runtime|logging(\..*)?|ipc|memory_swap")
#: From the configuration of the docker client that brought the stack up.
_PROXIES = re.compile(r"environment\.(https?|ftp|no|all)_proxy", re.I)
_ALIAS = re.compile(r"networks\..*\.aliases\.")
#: The fields of a namespace that may be another container's.
NAMESPACES = ("network_mode", "pid", "ipc")
#: Compose computes CPUs in 32-bit floating point.
_CPU_PRECISION = 1e-6

Json = dict[str, Any]


class Difference(Struct, frozen=True, kw_only=True):
    """A field that differs; None where one side has nothing."""

    field: str
    declared: str | None
    actual: str | None


def differences(
    service: DeclaredService, model: ComposeModel, container: Json, image: Json | None, peers: dict[str, str]
) -> list[Difference]:
    """In the order of the fields' names. ``image`` is the container's own, not what its name leads to now.

    ``peers`` gives the ids of containers by ``service:NAME`` and ``container:NAME``.
    """
    declared = declared_fields(service, model, (image or {}).get("Config") or {})
    actual = actual_fields(container)
    _settle_names(declared, actual, container)
    for fields in (declared, actual):
        _settle_namespaces(fields, peers)
    found = []
    for field in sorted({*declared, *actual}):
        left, right = declared.get(field), actual.get(field)
        same = left == right or _is_same(field, left, right, service)
        if same or (left is None and _may_be_more(field, service, model, container, image)):
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


def _settle_namespaces(fields: Fields, peers: dict[str, str]) -> None:
    """Who shares another container's namespace: the engine keeps that one's id, some versions its name."""
    for field in NAMESPACES:
        if fields.get(field) in peers:
            fields[field] = f"container:{peers[fields[field]]}"


def _is_same(field: str, declared: str | None, actual: str | None, service: DeclaredService) -> bool:
    """Whether two values that are written differently are the same."""
    if declared is None or actual is None:
        return False
    if field == "cpus":
        return math.isclose(int(declared), int(actual), rel_tol=_CPU_PRECISION)
    return field.startswith("mounts.") and same_mount(declared, actual, service)


def _may_be_more(
    field: str, service: DeclaredService, model: ComposeModel, container: Json, image: Json | None
) -> bool:
    """Whether a field that is not declared says nothing about the service."""
    if image is None or _ENGINE_S.fullmatch(field) or _PROXIES.fullmatch(field):
        return True
    if field.startswith("mounts.") and takes_from_outside(service):
        return True
    if field.startswith(("environment.", "mounts.")) and _is_given_more(service, model):
        return True
    if _ALIAS.match(field):
        names = (container["Config"].get("Hostname"), service.definition.get("hostname"), *own_names(container))
        return field.rpartition(".aliases.")[2] in names
    return False


def _is_given_more(service: DeclaredService, model: ComposeModel) -> bool:
    """Whether compose gives it variables or files that its configuration does not show.

    By models, by what provides a service that it depends on, and to reach the engine
    (https://github.com/docker/compose, pkg/compose: model.go, plugins.go, apiSocket.go).
    """
    provided = {name for name, one in model.services.items() if one.definition.get("provider") is not None}
    by_itself = service.definition.get("models") or service.definition.get("use_api_socket")
    return bool(by_itself or provided & service.depends_on.keys())
