"""SERVICE_DISCOVER: what runs on this machine, and what belongs together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.container_facts import Container, container_facts
from letsbe.executors.stack_source import unknown_stack
from letsbe.host import machine, sockets
from letsbe.host.readable import Readable
from letsbe.tools import systemd
from letsbe.tools.compose_find import stacks_below
from letsbe.tools.compose_project import Membership, container_name, is_named, membership

#: Of units, listeners and containers outside stacks.
MAX_LISTED = 1_000
SYSTEMCTL_S = 10.0

Source = Literal["containers", "listeners", "systemd"]


class Payload(base.Payload, frozen=True):
    """What SERVICE_DISCOVER takes."""

    stacks: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=4095)]],
        Meta(description="Only these: project names, or directories of stacks; empty: all.", max_length=100),
    ] = []
    include: Annotated[
        list[Source],
        Meta(description="Where to look: the engine, listening sockets, systemd.", min_length=1, max_length=3),
    ] = msgspec.field(default_factory=lambda: ["containers", "listeners", "systemd"])


class DiscoveredStack(Struct, kw_only=True):
    """A stack that has containers."""

    name: Annotated[str, Meta(description="Its project name.")]
    dir: Annotated[str, Meta(description="Its directory, as compose wrote it down.")]
    files: Annotated[list[str], Meta(description="Its compose files.")]
    services: Annotated[list[Container], Meta(description="Its containers, by service.")]


class Listener(Struct, kw_only=True):
    """A socket that waits for peers."""

    proto: Annotated[Literal["tcp", "udp"], Meta(description="Protocol.")]
    addr: Annotated[str, Meta(description="The address that it listens on.")]
    port: Annotated[int, Meta(description="Its port.")]
    inside: Annotated[bool, Meta(description="In the container's own network, not on the host's.")] = False
    pid: Annotated[int | None, Meta(description="The process; null when it can't be seen.")] = None
    process: Annotated[str | None, Meta(description="The process's name.")] = None
    container: Annotated[str | None, Meta(description="The container that it leads to.")] = None


class DeclaredStack(Struct, kw_only=True):
    """A stack whose compose files are there, and none of whose containers run."""

    name: Annotated[str, Meta(description="What compose would call its project.")]
    dir: Annotated[str, Meta(description="Its directory.")]
    files: Annotated[list[str], Meta(description="Its compose files.")]
    services: Annotated[list[str], Meta(description="The services that it declares.")]


class Unit(Struct, kw_only=True):
    """A service of systemd that runs or has failed."""

    unit: Annotated[str, Meta(description="Its name.")]
    active: Annotated[str, Meta(description="active or failed.")]
    sub: Annotated[str, Meta(description="The state in systemd's finer words.")]
    description: Annotated[str, Meta(description="Its description.")]


class Data(base.Data):
    """What SERVICE_DISCOVER gives. A source that could not be asked is null, and a warning says why."""

    stacks: Annotated[list[DiscoveredStack] | None, Meta(description="Stacks that have containers.")] = None
    unmanaged: Annotated[list[Container] | None, Meta(description="Containers that compose did not make.")] = None
    declared_not_running: Annotated[
        list[DeclaredStack] | None, Meta(description="Stacks below the allowed roots of which nothing runs.")
    ] = None
    listeners: Annotated[
        list[Listener] | None, Meta(description="Listening sockets, of the host and inside containers.")
    ] = None
    systemd: Annotated[list[Unit] | None, Meta(description="Services that run or have failed.")] = None
    truncated: Annotated[bool, Meta(description="There are more than were listed.")] = False


class ServiceDiscover(BaseExecutor[Payload, Data]):
    """Find all services: stacks, containers outside stacks, listening ports, what is declared but does not run.

    Compose's labels decide what belongs together. Without an engine the rest is told, with a warning.
    """

    type = "SERVICE_DISCOVER"
    changes = False
    rerun_safe = True
    better_with = ("docker",)
    example = {"include": ["listeners"]}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Ask each source; one that is missing does not lose the others."""
        data = Data()
        warnings: list[str] = []
        found: list[dict[str, Any]] | None = None
        try:
            found = self._containers(payload)
        except LetsbeError as error:
            if payload.stacks or payload.include == ["containers"]:
                raise
            warnings.append(f"containers not looked at: {error.message} ({error.hint})")
        if found is not None and "containers" in payload.include:
            self._stacks(found, payload, data)
        if "listeners" in payload.include:
            warnings += self._listeners(found or [], payload, data)
        if "systemd" in payload.include and not payload.stacks and machine.runs_systemd():
            warnings += self._systemd(data)
        return ExecutionResult(data=data, warnings=warnings)

    def _containers(self, payload: Payload) -> list[dict[str, Any]]:
        engine = self.host.engine
        ids = [one["Id"] for one in engine.containers() if self._wanted(membership(one.get("Labels")), payload)]
        return engine.inspect(ids)

    def _wanted(self, member: Membership | None, payload: Payload) -> bool:
        return not payload.stacks or (member is not None and self._asked_for(member.project, member.directory, payload))

    def _asked_for(self, project: str, directory: str, payload: Payload) -> bool:
        return any(is_named(project, directory, name, self._canonical) for name in payload.stacks)

    @cached_property
    def _canonical(self) -> Callable[[str], str]:
        """Takes the symlinks out of a path; each is looked at once, for many containers have the same."""
        return cache(Readable(self.host.files).canonical)

    def _stacks(self, found: list[dict[str, Any]], payload: Payload, data: Data) -> None:
        images = self.host.engine.images(one["Image"] for one in found)
        stacks: dict[tuple[str, str], DiscoveredStack] = {}
        unmanaged: list[Container] = []
        for one in found:
            member = membership(one["Config"].get("Labels"))
            facts = container_facts(one, images.get(one["Image"]), member)
            if member is None:
                unmanaged.append(facts)
                continue
            key = (member.project, member.directory)
            fresh = DiscoveredStack(name=member.project, dir=member.directory, files=list(member.files), services=[])
            stacks.setdefault(key, fresh).services.append(facts)
        for stack in stacks.values():
            stack.services.sort(key=lambda one: (one.service or "", one.container))
        data.stacks = [stacks[key] for key in sorted(stacks)]
        data.unmanaged = sorted(unmanaged, key=lambda one: one.container)[:MAX_LISTED]
        data.truncated = data.truncated or len(unmanaged) > MAX_LISTED
        data.declared_not_running = self._declared(data.stacks, payload)
        for name in payload.stacks:
            self._require_known(name, data.stacks, data.declared_not_running)

    def _declared(self, stacks: list[DiscoveredStack], payload: Payload) -> list[DeclaredStack]:
        canonical = self._canonical
        running = {canonical(one.dir) for one in stacks if any(s.state == "running" for s in one.services)}
        found: dict[str, DeclaredStack] = {}
        for root in map(canonical, self.host.files.roots):
            for stack in stacks_below(root, Readable(self.host.files)):
                where = canonical(stack.directory)
                if where not in running and (not payload.stacks or self._asked_for(stack.project, where, payload)):
                    names = sorted(service.name for service in stack.services)
                    found[where] = DeclaredStack(
                        name=stack.project, dir=stack.directory, files=stack.files, services=names
                    )
        return [found[where] for where in sorted(found)]

    def _require_known(self, name: str, stacks: list[DiscoveredStack], declared: list[DeclaredStack]) -> None:
        known: list[DiscoveredStack | DeclaredStack] = [*stacks, *declared]
        if not any(is_named(one.name, one.dir, name, self._canonical) for one in known):
            raise unknown_stack(name)

    def _listeners(self, found: list[dict[str, Any]], payload: Payload, data: Data) -> list[str]:
        names = {one["Id"]: container_name(one) for one in found}
        pids = {one["State"]["Pid"]: container_name(one) for one in found if one["State"].get("Pid")}
        published = _published(found)
        seen = sockets.listeners(pids)
        listeners = [_listener(one, names, pids, published) for one in seen.found]
        if payload.stacks:
            listeners = [one for one in listeners if one.container is not None]
        listeners.sort(key=lambda one: (one.inside, one.container or "", one.port, one.proto, one.addr))
        data.listeners = listeners[:MAX_LISTED]
        data.truncated = data.truncated or len(listeners) > MAX_LISTED
        if seen.complete:
            return []
        return ["processes of other users can't be looked at: some listeners have none; run as root to see them"]

    def _systemd(self, data: Data) -> list[str]:
        systemctl = self.host.processes.which("systemctl")
        if systemctl is None:
            return ["systemd not looked at: there is no systemctl"]
        argv = systemd.list_services_argv(systemctl)
        done = self.host.run(argv, changes=False, timeout_s=SYSTEMCTL_S, output_bytes=1024 * 1024)
        units = systemd.parse_services(done.stdout) if done.rc == 0 else None
        if units is None:
            return ["systemd not looked at: systemctl gave no list of services"]
        data.systemd = [
            Unit(unit=one.unit, active=one.active, sub=one.sub, description=one.description)
            for one in units[:MAX_LISTED]
        ]
        return []


def _published(found: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Protocol and host port, with the container that the engine's proxy leads to."""
    leads: dict[tuple[str, int], str] = {}
    for one in found:
        for inner, bindings in (one["NetworkSettings"].get("Ports") or {}).items():
            for binding in bindings or []:
                leads[inner.rpartition("/")[2], int(binding["HostPort"])] = container_name(one)
    return leads


def _listener(
    one: sockets.Listening, names: dict[str, str], pids: dict[int, str], published: dict[tuple[str, int], str]
) -> Listener:
    owner = one.owner
    container = pids.get(one.namespace_pid) if one.namespace_pid is not None else None
    if owner is not None and container is None:
        container = names.get(owner.container_id or "")
        if owner.process == "docker-proxy":
            container = published.get((one.socket.proto, one.socket.port))
    return Listener(
        proto=one.socket.proto,
        addr=one.socket.addr,
        port=one.socket.port,
        inside=one.namespace_pid is not None,
        pid=owner.pid if owner else None,
        process=owner.process if owner else None,
        container=container,
    )
