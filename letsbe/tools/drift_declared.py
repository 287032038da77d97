"""The fields that a service's containers should have, by what compose resolved and by what their image brings.

How compose turns a service into a container, and how the engine fills what is left out from the image, is what both
do in their own code: https://github.com/docker/compose (pkg/compose/create.go), https://github.com/moby/moby
(daemon/commit.go, ``merge``).
"""

from __future__ import annotations

import re
from typing import Any

from letsbe.tools.compose_model import ComposeModel, DeclaredService
from letsbe.tools.drift_actual import health_fields
from letsbe.tools.drift_fields import (
    Fields,
    capability,
    environment,
    exposed_ports,
    host_entry,
    option,
    own_labels,
    put,
    put_each,
    put_map,
    restart_policy,
)
from letsbe.tools.drift_mounts import clean, mount_fields
from letsbe.tools.quantities import byte_count, nanoseconds

Json = dict[str, Any]

#: A device by the name that a container device interface gives it, like ``nvidia.com/gpu=all``.
_CDI_DEVICE = re.compile(r"[^/=]+/[^/=]+=[^/=]+")
#: What SELinux is told beside the options, and what compose turns into other settings of the container.
_NO_OPTIONS = {"label=disable", "systempaths=unconfined"}


def declared_fields(service: DeclaredService, model: ComposeModel, image: Json) -> Fields:
    """The fields; ``image`` is the ``Config`` of the container's image."""
    fields: Fields = {}
    definition = service.definition
    _process(fields, definition, image)
    _limits(fields, definition)
    variables = {**environment(image.get("Env") or []), **service.environment}
    put_map(fields, "environment", {name: value for name, value in variables.items() if value is not None})
    put_map(fields, "labels", own_labels({**(image.get("Labels") or {}), **(definition.get("labels") or {})}))
    _ports(fields, definition, image)
    put_each(fields, "cap_add", map(capability, definition.get("cap_add") or []))
    put_each(fields, "cap_drop", map(capability, definition.get("cap_drop") or []))
    put_each(fields, "group_add", map(str, definition.get("group_add") or []))
    put_each(fields, "security_opt", {option(one) for one in definition.get("security_opt") or []} - _NO_OPTIONS)
    _names(fields, definition)
    put(fields, "restart", _restart(definition))
    mount_fields(fields, service, model, image)
    _networks(fields, service, model)
    log = definition.get("logging") or {}
    put(fields, "logging", log.get("driver"))
    put_map(fields, "logging", log.get("options") or {})
    return fields


def _process(fields: Fields, definition: Json, image: Json) -> None:
    command, entrypoint = definition.get("command"), definition.get("entrypoint")
    if not entrypoint:
        command = command or image.get("Cmd")
        entrypoint = image.get("Entrypoint") if entrypoint is None else None
    put(fields, "command", command)
    put(fields, "entrypoint", entrypoint)
    put(fields, "user", definition.get("user") or image.get("User"))
    put(fields, "working_dir", clean(definition.get("working_dir") or image.get("WorkingDir") or ""))
    put(fields, "hostname", definition.get("hostname"))
    put(fields, "domainname", definition.get("domainname"))
    put(fields, "tty", definition.get("tty"))
    put(fields, "stdin_open", definition.get("stdin_open"))
    put(fields, "stop_signal", definition.get("stop_signal") or image.get("StopSignal"))
    if definition.get("stop_grace_period") is not None:
        fields["stop_grace_period"] = str(nanoseconds(definition["stop_grace_period"]) // 10**9)
    _health(fields, definition.get("healthcheck") or {}, image.get("Healthcheck") or {})


def _health(fields: Fields, declared: Json, inherited: Json) -> None:
    if declared.get("disable"):
        return
    own = {
        "Test": declared.get("test") or [],
        "Interval": nanoseconds(declared.get("interval")),
        "Timeout": nanoseconds(declared.get("timeout")),
        "StartPeriod": nanoseconds(declared.get("start_period")),
        "StartInterval": nanoseconds(declared.get("start_interval")),
        "Retries": int(declared.get("retries") or 0),
    }
    health_fields(fields, {key: value or inherited.get(key) for key, value in own.items()})


def _limits(fields: Fields, definition: Json) -> None:
    resources = (definition.get("deploy") or {}).get("resources") or {}
    limits, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    put(fields, "memory", byte_count(limits.get("memory") or definition.get("mem_limit")))
    put(fields, "memory_reservation", byte_count(reserved.get("memory") or definition.get("mem_reservation")))
    put(fields, "memory_swap", byte_count(definition.get("memswap_limit")))
    put(fields, "cpus", round(float(limits.get("cpus") or definition.get("cpus") or 0) * 10**9))
    put(fields, "pids", max(int(limits.get("pids") or definition.get("pids_limit") or 0), 0))
    put(fields, "shm_size", byte_count(definition.get("shm_size")))
    for name in ("cpu_shares", "cpu_quota", "cpuset", "oom_score_adj", "oom_kill_disable", "cgroup_parent"):
        put(fields, name, definition.get(name))
    put(fields, "cpu_period", definition.get("cpu_period"))
    for name in ("privileged", "read_only", "init", "userns_mode", "uts", "runtime"):
        put(fields, name, definition.get(name))
    put_map(fields, "sysctls", definition.get("sysctls") or {})
    for name, one in (definition.get("ulimits") or {}).items():
        fields[f"ulimits.{name}"] = f"{one['soft']}:{one['hard']}" if isinstance(one, dict) else f"{one}:{one}"
    for device in definition.get("devices") or []:
        source, target, permissions = _device(device)
        if not _CDI_DEVICE.fullmatch(source):  # the engine's drivers know what that is
            fields[f"devices.{target}"] = f"{source}:{target}:{permissions}"


def _device(device: Any) -> tuple[str, str, str]:
    if isinstance(device, dict):
        source, target, permissions = device["source"], device.get("target"), device.get("permissions")
    else:
        source, target, permissions = [*device.split(":"), None, None][:3]
    return source, target or source, permissions or "rwm"


def _names(fields: Fields, definition: Json) -> None:
    put(fields, "dns", definition.get("dns"))
    put(fields, "dns_search", definition.get("dns_search"))
    put(fields, "dns_opt", definition.get("dns_opt"))
    put_each(fields, "extra_hosts", map(host_entry, definition.get("extra_hosts") or []))
    put(fields, "pid", definition.get("pid"))
    put(fields, "ipc", definition.get("ipc"))


def _restart(definition: Json) -> str:
    name, _, most = str(definition.get("restart") or "").partition(":")
    policy = (definition.get("deploy") or {}).get("restart_policy")
    if policy is not None:
        return restart_policy(policy.get("condition") or "", int(policy.get("max_attempts") or 0))
    return restart_policy(name, int(most or 0))


def _ports(fields: Fields, definition: Json, image: Json) -> None:
    exposed = set(image.get("ExposedPorts") or {})
    places: dict[str, list[str]] = {}
    for one in definition.get("ports") or []:
        inner = f"{one['target']}/{one.get('protocol') or 'tcp'}"
        exposed.add(inner)
        places.setdefault(inner, []).append(f"{one.get('host_ip') or ''}:{one.get('published') or ''}")
    for inner, found in places.items():
        fields[f"ports.{inner}"] = " ".join(sorted(found))
    put_each(fields, "expose", exposed_ports({*exposed, *map(str, definition.get("expose") or [])}))


def _networks(fields: Fields, service: DeclaredService, model: ComposeModel) -> None:
    definition = service.definition
    if definition.get("network_mode"):
        fields["network_mode"] = definition["network_mode"]
        return
    known = model.of_kind("networks")
    for key, found in (definition.get("networks") or {"default": None}).items():
        one = found or {}
        name = known[key].name if key in known else key
        fields[f"networks.{name}"] = "attached"
        put_each(fields, f"networks.{name}.aliases", {service.name, *(one.get("aliases") or [])})
        put(fields, f"networks.{name}.ipv4_address", one.get("ipv4_address"))
        put(fields, f"networks.{name}.ipv6_address", one.get("ipv6_address"))
