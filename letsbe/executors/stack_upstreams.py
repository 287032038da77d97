"""Which nginx of a stack may still send to addresses that containers had before; see tools/stale_upstreams.py."""

from __future__ import annotations

import shlex
from typing import Annotated

from msgspec import Meta, Struct

from letsbe.executors.base import Context
from letsbe.executors.container_nginx import ContainerNginx
from letsbe.executors.stack_source import Json
from letsbe.host.neighbours import neighbours
from letsbe.host.nginx_masters import NginxMaster, nginx_masters
from letsbe.host.process_table import one_process, started_at
from letsbe.host.sockets import connected
from letsbe.protocol import instant
from letsbe.tools.compose_project import Membership, container_name
from letsbe.tools.container_networks import addresses, attached, network_owner, surroundings
from letsbe.tools.nginx_upstreams import Upstreams, reload_words, upstreams
from letsbe.tools.stale_upstreams import Stale, Surroundings, Traffic, late_ones, stale

_MOST_ERRORS = 3


class Destination(Struct, kw_only=True):
    """Where requests go instead."""

    address: Annotated[str, Meta(description="The address.")]
    container: Annotated[str | None, Meta(description="The container that has it now; null: none has.")] = None


class StaleUpstream(Struct, kw_only=True):
    """A host that an nginx looked up when it loaded its configuration, and where another address may be right now."""

    service: Annotated[str, Meta(description="The service that the nginx belongs to.")]
    container: Annotated[str, Meta(description="Its container.")]
    upstream: Annotated[str, Meta(description="Host and port as the configuration names them.")]
    file: Annotated[str, Meta(description="The configuration file that names it first, in the container.")]
    line: Annotated[int, Meta(description="The line.")]
    loaded_at: Annotated[str, Meta(description="When nginx loaded its configuration.")]
    started: Annotated[list[str], Meta(description="The containers behind the name that were started since.")] = []
    started_at: Annotated[str | None, Meta(description="When the last of them was; null: an address is named.")] = None
    sends_to: Annotated[list[Destination], Meta(description="Where requests go instead; empty: not known.")] = []
    proven: Annotated[bool, Meta(description="Traffic, or the address itself, shows it; false: it may be.")]
    detail: Annotated[str, Meta(description="What is to be said of it, and what to do.")]


class StackUpstreams:
    """Looks at the containers of one stack; ``warnings`` tell what could not be read."""

    def __init__(self, context: Context, containers: list[tuple[Json, Membership]]) -> None:
        self._context = context
        self._engine = context.host.engine
        ordered = sorted(containers, key=lambda one: (one[1].service, one[1].number))
        self._containers = [(found, member) for found, member in ordered if found["State"].get("Pid")]
        self.warnings: list[str] = []

    def stale(self) -> list[StaleUpstream]:
        """What is stale or may be. Nothing where no nginx is seen: an engine elsewhere, another's processes."""
        masters = {one.container_id: one for one in nginx_masters()} if self._engine.is_local else {}
        proxies = [
            (masters[found["Id"]], found, member) for found, member in self._containers if found["Id"] in masters
        ]
        if not proxies:
            return []
        listed, networks = self._engine.containers(), self._engine.networks()
        found: list[StaleUpstream] = []
        for master, proxy, member in proxies:
            named = self._named(master, proxy)
            if not named.once:
                continue
            own = self._with_network(proxy)
            near = [one["Id"] for one in listed if one["State"] == "running" and attached(own).keys() & attached(one)]
            peers = self._engine.inspect(near)
            around = surroundings(own, _with_start(peers), listed, networks)
            traffic = self._traffic(master, own, peers, named, around)
            late = stale(named, around, traffic, master.loaded)
            found += [self._told(one, master, proxy, member) for one in late]
        return found

    def _named(self, master: NginxMaster, proxy: Json) -> Upstreams:
        loaded = ContainerNginx(self._engine, master).load()
        for error in loaded.errors[:_MOST_ERRORS]:
            told = f"{container_name(proxy)}: not all of its nginx configuration is read: {error}"
            self.warnings.append(self._context.redactor.text(told))
        return upstreams(loaded.directives)

    def _with_network(self, proxy: Json) -> Json:
        """The proxy's own description, or that of the container whose network it shares."""
        owner = network_owner(proxy)
        return next(iter(self._engine.inspect([owner])), proxy) if owner else proxy

    def _traffic(
        self, master: NginxMaster, own: Json, peers: list[Json], named: Upstreams, around: Surroundings
    ) -> Traffic:
        late = {peer.name for group in late_ones(named, around, master.loaded).values() for peer in group}
        if not late:
            return Traffic()
        pids = {container_name(one): one["State"]["Pid"] for one in peers if one["State"]["Pid"]}
        pid, here = own["State"]["Pid"], addresses(attached(own).values())
        met = neighbours([pid, *(pids[name] for name in late if name in pids)])
        connections = connected([pid, *pids.values()])
        return Traffic(
            unanswered=frozenset(
                one.address
                for one in met.get(pid, [])
                if not one.answers and one.used is not None and one.used > master.loaded
            ),
            met=frozenset(
                name
                for name in late & pids.keys()
                if any(one.answers and one.address in here for one in met.get(pids[name], []))
            ),
            reached={
                name: frozenset((one.addr, one.port) for one in connections.get(at, ()) if one.peer in here)
                for name, at in pids.items()
            },
            connected=frozenset((one.peer, one.peer_port) for one in connections.get(pid, ())),
        )

    def _told(self, one: Stale, master: NginxMaster, proxy: Json, member: Membership) -> StaleUpstream:
        last = max((peer.started for peer in one.late), default=None)
        return StaleUpstream(
            service=member.service,
            container=container_name(proxy),
            upstream=one.upstream.shown,
            file=one.upstream.file,
            line=one.upstream.line,
            loaded_at=instant(master.loaded),
            started=[peer.name for peer in one.late],
            started_at=None if last is None else instant(last),
            sends_to=[Destination(address=address, container=name) for address, name in one.sends_to.items()],
            proven=bool(one.sends_to),
            detail=_detail(one, master, container_name(proxy), member),
        )


def _with_start(containers: list[Json]) -> list[tuple[Json, float]]:
    """By the start of their first process, as for nginx, so that a clock that was set does not matter."""
    processes = [(one, one_process(one["State"]["Pid"])) for one in containers]
    return [(one, started_at(process.started)) for one, process in processes if process is not None]


def _detail(one: Stale, master: NginxMaster, proxy: str, member: Membership) -> str:
    upstream = one.upstream
    if not one.late:
        return (
            f"{proxy}: {upstream.file}:{upstream.line} names {upstream.shown}, where no container is: name a service"
            " there, not an address"
        )
    index = ["--index", str(member.number)] if member.number > 1 else []
    reload = shlex.join(["docker", "compose", "exec", *index, member.service, *reload_words(master.command)])
    names = ", ".join(peer.name for peer in one.late)
    were = "was" if len(one.late) == 1 else "were"
    if one.sends_to:
        places = " and ".join(
            f"{address}, where {'no container' if name is None else name} is" for address, name in one.sends_to.items()
        )
        return f"{proxy}: nginx sends requests for {upstream.shown} to {places}: reload it with `{reload}`"
    return (
        f"{proxy}: nginx looked up {upstream.shown} before {names} {were} started, and may still send to the address"
        f" that it had before: reload it with `{reload}`"
    )
