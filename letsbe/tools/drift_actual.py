"""A container's fields, from the engine's full description (``GET /containers/{id}/json``)."""

from __future__ import annotations

import re
from typing import Any

from letsbe.tools.drift_fields import (
    Fields,
    capability,
    environment,
    exposed_ports,
    host_entry,
    mount,
    option,
    own_labels,
    put,
    put_each,
    put_map,
    restart_policy,
)

_ANONYMOUS = re.compile("[0-9a-f]{64}")
Json = dict[str, Any]

#: Field -> key of HostConfig, for what needs no translation.
PLAIN_LIMITS = {
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "cpu_shares": "CpuShares",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpuset": "CpusetCpus",
    "oom_score_adj": "OomScoreAdj",
    "oom_kill_disable": "OomKillDisable",
    "cgroup_parent": "CgroupParent",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "init": "Init",
    "userns_mode": "UsernsMode",
    "uts": "UTSMode",
}


def actual_fields(container: Json) -> Fields:
    """What the container has. Memory in bytes, CPUs in nano-CPUs, times in nanoseconds."""
    fields: Fields = {}
    config, host = container["Config"], container["HostConfig"]
    _process(fields, config)
    _limits(fields, host)
    for name, found in environment(config.get("Env") or []).items():
        if found is not None:
            fields[f"environment.{name}"] = found
    put_map(fields, "labels", own_labels(config.get("Labels")))
    put_each(fields, "expose", exposed_ports(config.get("ExposedPorts") or {}))
    put_each(fields, "cap_add", map(capability, host.get("CapAdd") or []))
    put_each(fields, "cap_drop", map(capability, host.get("CapDrop") or []))
    put_each(fields, "group_add", host.get("GroupAdd") or [])
    put_each(fields, "security_opt", {option(one) for one in host.get("SecurityOpt") or []} - {"label=disable"})
    _names(fields, host)
    put(fields, "restart", restart_policy(**_policy(host.get("RestartPolicy") or {})))
    _ports(fields, host)
    _mounts(fields, container)
    _networks(fields, container)
    log = host.get("LogConfig") or {}
    put(fields, "logging", log.get("Type"))
    put_map(fields, "logging", log.get("Config") or {})
    return fields


def _process(fields: Fields, config: Json) -> None:
    put(fields, "command", config.get("Cmd"))
    put(fields, "entrypoint", config.get("Entrypoint"))
    put(fields, "user", config.get("User"))
    put(fields, "working_dir", config.get("WorkingDir"))
    put(fields, "hostname", config.get("Hostname"))
    put(fields, "domainname", config.get("Domainname"))
    put(fields, "tty", config.get("Tty"))
    put(fields, "stdin_open", config.get("OpenStdin"))
    put(fields, "stop_signal", config.get("StopSignal"))
    if config.get("StopTimeout") is not None:
        fields["stop_grace_period"] = str(config["StopTimeout"])
    health_fields(fields, config.get("Healthcheck") or {})


def health_fields(fields: Fields, check: Json) -> None:
    """Of a health check in the engine's words; its times are nanoseconds."""
    test = check.get("Test") or []
    put(fields, "healthcheck.test", [] if test[:1] == ["NONE"] else test)
    if test and test[0] != "NONE":
        for name in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
            put(fields, f"healthcheck.{name.lower()}", check.get(name))


def _limits(fields: Fields, host: Json) -> None:
    for name, key in PLAIN_LIMITS.items():
        put(fields, name, host.get(key))
    put(fields, "cpus", host.get("NanoCpus"))
    put(fields, "pids", max(host.get("PidsLimit") or 0, 0))
    put(fields, "memory_swap", host.get("MemorySwap"))
    put(fields, "shm_size", host.get("ShmSize"))
    put(fields, "runtime", host.get("Runtime"))
    put_map(fields, "sysctls", host.get("Sysctls") or {})
    for one in host.get("Ulimits") or []:
        fields[f"ulimits.{one['Name']}"] = f"{one['Soft']}:{one['Hard']}"
    for one in host.get("Devices") or []:
        where = f"{one['PathOnHost']}:{one['PathInContainer']}:{one['CgroupPermissions']}"
        fields[f"devices.{one['PathInContainer']}"] = where


def _names(fields: Fields, host: Json) -> None:
    put(fields, "dns", host.get("Dns"))
    put(fields, "dns_search", host.get("DnsSearch"))
    put(fields, "dns_opt", host.get("DnsOptions"))
    put_each(fields, "extra_hosts", map(host_entry, host.get("ExtraHosts") or []))
    put(fields, "pid", host.get("PidMode"))
    put(fields, "ipc", host.get("IpcMode"))


def _policy(policy: Json) -> Json:
    return {"name": policy.get("Name") or "", "most": policy.get("MaximumRetryCount") or 0}


def _ports(fields: Fields, host: Json) -> None:
    for inner, bindings in (host.get("PortBindings") or {}).items():
        places = sorted(f"{one.get('HostIp') or ''}:{one.get('HostPort') or ''}" for one in bindings or [])
        fields[f"ports.{inner}"] = " ".join(places)


def _mounts(fields: Fields, container: Json) -> None:
    host = container["HostConfig"]
    put_map(fields, "tmpfs", host.get("Tmpfs") or {})
    for one in container.get("Mounts") or []:
        kind, source = one["Type"], one.get("Source") or ""
        if kind in ("volume", "image"):
            source = one.get("Name") or ""
            if kind == "volume" and _ANONYMOUS.fullmatch(source):
                source = ""
        if one["Destination"] in (host.get("Tmpfs") or {}):
            continue  # newer engines list it twice
        fields[f"mounts.{one['Destination']}"] = mount(
            kind, "" if kind == "tmpfs" else source, read_only=not one.get("RW", True)
        )


def _networks(fields: Fields, container: Json) -> None:
    mode = str(container["HostConfig"].get("NetworkMode") or "")
    if mode in ("host", "none", "bridge", "default") or mode.startswith("container:"):
        put(fields, "network_mode", mode)
        return
    name, digits = own_names(container)
    for network, found in (container["NetworkSettings"].get("Networks") or {}).items():
        fields[f"networks.{network}"] = "attached"
        aliases = {*(found.get("Aliases") or []), *(found.get("DNSNames") or []), name} - {digits}
        put_each(fields, f"networks.{network}.aliases", aliases)
        addresses = found.get("IPAMConfig") or {}
        put(fields, f"networks.{network}.ipv4_address", addresses.get("IPv4Address"))
        put(fields, f"networks.{network}.ipv6_address", addresses.get("IPv6Address"))


def own_names(container: Json) -> tuple[str, str]:
    """What a container is called on every network: its name, and the beginning of its id."""
    return container["Name"].removeprefix("/"), container["Id"][:12]
