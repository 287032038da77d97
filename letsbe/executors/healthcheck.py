"""HEALTHCHECK: is what runs here well?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base, stack_secrets
from letsbe.executors.base import BaseExecutor, Context, ExecutionResult
from letsbe.executors.health_containers import container_checks, may_be_looping
from letsbe.executors.health_logs import LogScan
from letsbe.executors.health_ports import PortProbe, check_probe, check_published, published_ports
from letsbe.executors.health_report import Check, LogHit, Status, Thresholds, check, in_words, worst
from letsbe.executors.stack_source import StackSource
from letsbe.host import machine, sockets
from letsbe.host.clock import Deadline, now
from letsbe.tools.compose_project import container_name, membership
from letsbe.tools.log_problems import LogProblems

#: Probes, and logs, at once.
PARALLEL = 16
PARALLEL_LOGS = 4
#: Between two looks at a container that may be in a crash loop, and between two looks while it is waited, in seconds.
LOOK_AGAIN_S = 2.0
#: What a run may take beside the waiting, in seconds.
_LOOKING_S = 300.0
#: What time alone does not mend is looked at once, after the waiting.
_LASTING = ("disk", "logs", "certificate")

Json = dict[str, Any]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Pattern = Annotated[str, Meta(min_length=1, max_length=500)]
T = TypeVar("T")
R = TypeVar("R")


class Payload(base.Payload, frozen=True):
    """What HEALTHCHECK takes. With nothing at all it looks at the whole host."""

    stack: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4095)] | None,
        Meta(description="A project name, or the directory of a stack."),
    ] = None
    services: Annotated[list[Name], Meta(description="Of the stack, only these; empty: all.", max_length=100)] = []
    containers: Annotated[list[Name], Meta(description="Names of containers instead of a stack.", max_length=100)] = []
    ports: Annotated[
        list[PortProbe],
        Meta(
            description="Ports to probe. Published ports of the containers are looked at anyway; with ports alone"
            " nothing else is, and no engine is needed.",
            max_length=100,
        ),
    ] = []
    log_window_s: Annotated[
        int, Meta(description="Logs are read so far back, in seconds; 0: not at all.", ge=0, le=604_800)
    ] = 900
    log_patterns: Annotated[
        list[Pattern],
        Meta(description="Lines that match count too, whatever their level; as LOG_TAIL's grep.", max_length=50),
    ] = []
    log_ignore: Annotated[list[Pattern], Meta(description="Lines that match never count.", max_length=50)] = []
    thresholds: Annotated[Thresholds, Meta(description="From where on something is told.")] = Thresholds()
    retries: Annotated[int, Meta(description="A probe that fails is repeated so often.", ge=0, le=20)] = 0
    wait_s: Annotated[
        int, Meta(description="Look again until all is well, for so many seconds at most.", ge=0, le=3_600)
    ] = 0


class Data(base.Data):
    """What HEALTHCHECK gives."""

    status: Annotated[Status, Meta(description="The worst of the checks; fail is the error `unhealthy` as well.")] = (
        "ok"
    )
    checks: Annotated[list[Check], Meta(description="All that was looked at, the worst first.")] = []
    log_hits: Annotated[list[LogHit], Meta(description="Lines of logs that tell of problems, grouped.")] = []
    summary: Annotated[str, Meta(description="How many checks failed, and the worst of them, in words.")] = ""


class Healthcheck(BaseExecutor[Payload, Data]):
    """Look whether a stack, some ports or the whole host is well: states, restarts, ports, logs, disks.

    What is unhealthy is a failed run with the error `unhealthy`, exit code 1, and the report in `data`; warnings are
    no failure. --output junit and --output prometheus (for a textfile collector) give the report in those forms.
    """

    type = "HEALTHCHECK"
    changes = False
    rerun_safe = True
    needs = ("docker",)
    example = {"containers": ["{container}"]}

    def timeout_s(self, payload: Payload) -> float | None:
        """As long as it is to wait, and five minutes."""
        return payload.wait_s + _LOOKING_S if payload.wait_s else None

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Look, again and again if that is asked for, and judge."""
        _require_consistent(payload)
        problems = LogProblems(payload.log_patterns, payload.log_ignore)
        look = _Look(self.context, payload)
        waited = Deadline(payload.wait_s)
        while True:
            checks = look.checks()
            unwell = any(one.status != "ok" and one.kind not in _LASTING for one in checks)
            if not unwell or waited.remaining() == 0:
                break
            self.host.progress("waiting", None, in_words(checks))
            self.host.deadline.pause(min(LOOK_AGAIN_S, waited.remaining()))
        hits: list[LogHit] = []
        if payload.log_window_s:
            scan = LogScan(self.context, problems, payload.log_window_s, now())
            checks += [one for one in _side_by_side(scan.scan, look.found, PARALLEL_LOGS) if one is not None]
            hits = scan.hits()
        order = {"fail": 0, "warn": 1, "ok": 2}
        checks.sort(key=lambda one: order[one.status])
        data = Data(status=worst(one.status for one in checks), checks=checks, log_hits=hits, summary=in_words(checks))
        error = _unhealthy(data) if data.status == "fail" else None
        return ExecutionResult(data=data, error=error, warnings=look.warnings)


class _Look:
    """What is looked at, found anew at each look; names and their addresses are found once."""

    def __init__(self, context: Context, payload: Payload) -> None:
        self._context, self._payload = context, payload
        self._host = context.host
        self._only_ports = bool(payload.ports) and payload.stack is None and not payload.containers
        self._whole_host = not (payload.ports or payload.stack or payload.containers)
        hosts = list(dict.fromkeys(one.host for one in payload.ports))
        checked = _side_by_side(self._host.probe_targets.checked, hosts, PARALLEL)
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
        return _side_by_side(
            lambda port: check_published(port, inside.get(port.container["State"]["Pid"])), ports, PARALLEL
        )

    def _probes(self) -> list[Check]:
        payload, moment = self._payload, now()
        different = list(dict.fromkeys(payload.ports))
        found = _side_by_side(
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


def _side_by_side(function: Callable[[T], R], items: Iterable[T], most: int) -> list[R]:
    """The results in order. Many at once, but not all."""
    wanted = list(items)
    if len(wanted) < 2:
        return [function(one) for one in wanted]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(most, len(wanted)), "health")
    try:
        return list(pool.map(function, wanted))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _require_consistent(payload: Payload) -> None:
    if payload.stack is not None and payload.containers:
        raise _invalid("containers", "name either a stack or containers")
    if payload.services and payload.stack is None:
        raise _invalid("services", "services are of a stack")
    for number, one in enumerate(payload.ports):
        if one.proto == "udp" and one.expect != "tcp":
            raise _invalid(f"ports[{number}].expect", f"{one.expect} is not spoken over UDP")


def _invalid(field: str, problem: str) -> LetsbeError:
    return LetsbeError(
        "invalid_payload",
        f"$.{field}: {problem}",
        hint="`letsbe schema HEALTHCHECK` describes the payload.",
        details={"path": f"$.{field}"},
    )


def _require_known(names: list[str], listed: list[Json]) -> None:
    known = {container_name(one) for one in listed}
    for name in names:
        if name not in known:
            raise LetsbeError(
                "container_not_found",
                f"there is no container {name!r}",
                hint="`letsbe service-discover` shows what there is.",
            )


def _unhealthy(data: Data) -> LetsbeError:
    failed = sorted({one.target for one in data.checks if one.status == "fail"})
    return LetsbeError(
        "unhealthy",
        data.summary,
        hint="The checks under data say what was found and what was expected.",
        details={"failed": failed[:50]},
    )
