"""One look at what HEALTHCHECK is asked about: which containers, ports and disks, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from letsbe.errors import LetsbeError
from letsbe.executors import stack_secrets
from letsbe.executors.base import Context
from letsbe.executors.health_containers import container_checks, may_be_looping
from letsbe.executors.health_ports import check_probe, check_published, published_ports
from letsbe.executors.health_report import Check, Status, check
from letsbe.executors.health_request import Payload
from letsbe.executors.side_by_side import side_by_side
from letsbe.executors.stack_source import StackSource
from letsbe.host import machine, sockets
from letsbe.host.clock import Deadline, now
from letsbe.tools.compose_project import container_name, membership

#: Probes at once.
PARALLEL = 16
#: Between two looks at a container that may be in a crash loop, in seconds.
LOOK_AGAIN_S = 2.0

Json = dict[str, Any]


class Look:
    """What is looked at, found anew at each look; names and their addresses are found once."""

    def __init__(self, context: Context, payload: Payload) -> None:
        self._context, self._payload = context, payload
        self._host = context.host
        self._only_ports = bool(payload.ports) and payload.stack is None and not payload.containers
        self._whole_host = not (payload.ports or payload.stack or payload.containers)
        hosts = list(dict.fromkeys(one.host for one in payload.ports))
        checked = side_by_side(self._host.probe_targets.checked, hosts, PARALLEL)
        self._addresses = dict(zip(hosts, checked, strict=True))
        self.found: list[Json] = []
        self.warnings: list[str] = []

    def checks(self) -> list[Check]:
        """Everything but the logs."""
        payload, moment = self._payload, now()
        self.found = [] if self._only_ports else self._containers()
        doubtful = [one["Id"] for one in self.found if may_be_looping(one, payload.thresholds, moment)]
        second_look = Deadline(LOOK_AGAIN_S if doubtful else 0)
        checks = [*self._missing(), *self._ports(), *self._probes()]
        self._host.deadline.pause(second_look.remaining())
        later = {one["Id"]: one for one in self._host.engine.inspect(doubtful)} if doubtful else {}
        for one in self.found:
            checks += container_checks(one, later.get(one["Id"]), payload.thresholds, now())
        return [*checks, *self._disks()] if self._whole_host else checks

    def _containers(self) -> list[Json]:
        payload, engine = self._payload, self._host.engine
        if payload.stack is not None:
            source = StackSource(self._context)
            members = [one for one in source.members(payload.stack) if not one.stack.one_off]
            if not members:
                source.find(payload.stack)  # raises what is wrong, unless it is declared
            wanted = [one for one in members if not payload.services or one.stack.service in payload.services]
            return source.inspect(wanted)
        listed = engine.containers()
        if payload.containers:
            _require_known(payload.containers, listed)
            listed = [one for one in listed if container_name(one) in payload.containers]
        stacks = {one["Id"]: membership(one.get("Labels")) for one in listed}
        found = engine.inspect(name for name, stack in stacks.items() if stack is None or not stack.one_off)
        stack_secrets.meet_in_containers(self._context, found)
        for directory in {stack.directory for stack in stacks.values() if stack is not None and stack.directory}:
            stack_secrets.meet_in_directory(self._context, directory)
        return found

    def _missing(self) -> Iterator[Check]:
        """A stack that is declared and has no container, and services asked for that have none."""
        payload = self._payload
        if payload.stack is not None and not payload.services and not self.found:
            yield check("stack", payload.stack, "fail", "no container", "containers", "is declared, nothing of it runs")
        there = {member.service for one in self.found if (member := membership(one["Config"].get("Labels")))}
        for service in payload.services:
            if service not in there:
                yield check("service", service, "fail", "no container", "a container", "has no container")

    def _ports(self) -> list[Check]:
        ports = [port for one in self.found for port in published_ports(one)]
        if not ports:
            return []
        if not self._host.engine.is_local:
            self.warnings = ["published ports not looked at: the engine is another machine's"]
            return []
        inside = sockets.waiting({port.container["State"]["Pid"] for port in ports})
        hidden = [port for port in ports if port.container["State"]["Pid"] not in inside]
        if hidden and any(port.proto == "udp" for port in hidden):
            self.warnings = ["published UDP ports not looked at: run as root to look into containers"]
            ports = [port for port in ports if port not in hidden or port.proto == "tcp"]
        return side_by_side(
            lambda port: check_published(port, inside.get(port.container["State"]["Pid"])), ports, PARALLEL
        )

    def _probes(self) -> list[Check]:
        payload, moment = self._payload, now()
        different = list(dict.fromkeys(payload.ports))
        found = side_by_side(
            lambda probe: check_probe(
                self._host, probe, self._addresses[probe.host], payload.thresholds, payload.retries, moment
            ),
            different,
            PARALLEL,
        )
        return [one for checks in found for one in checks]

    def _disks(self) -> list[Check]:
        """Those of the system, of the engine's data and of the allowed roots, each once."""
        engine = self._host.engine
        data_root = str(engine.info().get("DockerRootDir") or "") if engine.is_local else ""
        found: dict[int, Check] = {}
        for path in ("/", data_root, *self._host.files.roots):
            use = machine.disk_use(path) if path else None
            if use is not None and use.device not in found:
                found[use.device] = _disk(path, use, self._payload.thresholds.disk_pct)
        return list(found.values())


def _disk(path: str, use: machine.DiskUse, threshold: int) -> Check:
    full = max(use.bytes_pct, use.inodes_pct)
    status: Status = "fail" if full >= (threshold + 100) / 2 else "warn" if full >= threshold else "ok"
    observed = f"{use.bytes_pct} % of the bytes, {use.inodes_pct} % of the inodes"
    what = "its inodes are" if use.inodes_pct > use.bytes_pct else "it is"
    return check("disk", path, status, observed, f"less than {threshold} %", f"{what} used up to {full} %")


def _require_known(names: list[str], listed: list[Json]) -> None:
    known = {container_name(one) for one in listed}
    for name in names:
        if name not in known:
            raise LetsbeError(
                "container_not_found",
                f"there is no container {name!r}",
                hint="`letsbe service-discover` shows what there is.",
            )
