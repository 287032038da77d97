"""Whether an nginx still sends to addresses that containers had when it loaded its configuration, and have no more.

Nobody can ask nginx what a name came to. What can be known: when it looked the names up, when the containers behind
them were started, and what the kernel saw of the traffic since. So a finding is proven by traffic, or it only may be.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec import Struct

from letsbe.tools.nginx_upstreams import Upstream, Upstreams

#: A container that was started this many seconds after the configuration was loaded may have been looked up then: the
#: engine tells its name before it calls it started.
SLACK_S = 2.0


class Peer(Struct, frozen=True, kw_only=True):
    """A running container that shares a network with the one of nginx."""

    name: str
    #: What it is called on the shared networks.
    names: frozenset[str]
    addresses: frozenset[str]
    #: It has the same address at every start.
    fixed: bool
    #: Seconds since the epoch.
    started: float


class Surroundings(Struct, frozen=True, kw_only=True):
    """What an nginx has around it."""

    peers: list[Peer]
    #: Of the networks on which every address is a container's.
    subnets: list[IPv4Network | IPv6Network]
    #: Addresses that are a container's, a gateway's, or kept for one.
    taken: frozenset[str]
    #: Names that lead elsewhere, whatever containers are called: those of its own hosts file, and its own.
    elsewhere: frozenset[str] = frozenset()


class Traffic(Struct, frozen=True, kw_only=True):
    """What the kernel saw, as far as it can be asked."""

    #: Where something was sent from nginx's container since the configuration was loaded, and nobody answered.
    unanswered: frozenset[str] = frozenset()
    #: Names of containers that had to do with nginx's since they were started.
    met: frozenset[str] = frozenset()
    #: Addresses and ports of containers, by name, that nginx's is or was just connected to; seen by them, and so since
    #: they were started.
    reached: dict[str, frozenset[tuple[str, int]]] = {}
    #: Addresses and ports that nginx's container is, was just or tries to be connected to; seen by itself.
    connected: frozenset[tuple[str, int]] = frozenset()


class Stale(Struct, frozen=True, kw_only=True):
    """An upstream that was looked up too long ago."""

    upstream: Upstream
    #: Those behind the name that were started since; none: the configuration names the address itself.
    late: list[Peer] = []
    #: Where requests go instead, and who is there, None being nobody; empty: nothing proves it.
    sends_to: dict[str, str | None] = {}


def late_ones(upstreams: Upstreams, around: Surroundings, loaded: float) -> dict[Upstream, list[Peer]]:
    """The upstreams with containers that were started after they had been looked up, and may have another address."""
    found: dict[Upstream, list[Peer]] = {}
    for one in upstreams.once:
        late = [peer for peer in _behind(one, around) if peer.started > loaded + SLACK_S and not peer.fixed]
        if late:
            found[one] = late
    return found


def stale(upstreams: Upstreams, around: Surroundings, traffic: Traffic, loaded: float) -> list[Stale]:
    """What is stale or may be, in the order of the configuration."""
    late = late_ones(upstreams, around, loaded)
    unanswered = _unanswered(upstreams, around, traffic)
    doubtful = {one for one in late if not _is_reached(one, late, traffic)}
    # Each address that nobody has was one of theirs, or of a container that is gone for good.
    owners = len(_names(late[one] for one in doubtful)) + len(_lost(upstreams, around))
    explained = len(unanswered) <= len(_lost(upstreams, around))
    found: list[Stale] = []
    for one in upstreams.once:
        if _is_address(one.host):
            if one.host not in around.taken and _is_within(one.host, around):
                found.append(Stale(upstream=one, sends_to={one.host: None}))
        elif one in late:
            sends_to = _elsewhere(one, upstreams, around, traffic, loaded)
            met = _is_met(one, late, traffic)
            if one in doubtful and not met and unanswered and len(unanswered) >= owners:
                sends_to |= dict.fromkeys(unanswered)
            if sends_to or (one in doubtful and not (met and explained)):
                found.append(Stale(upstream=one, late=late[one], sends_to=dict(sorted(sends_to.items()))))
    return found


def _behind(one: Upstream, around: Surroundings) -> list[Peer]:
    return [peer for peer in around.peers if one.host in peer.names and one.host not in around.elsewhere]


def _names(groups: Iterable[list[Peer]]) -> set[str]:
    return {peer.name for peers in groups for peer in peers}


def _unanswered(upstreams: Upstreams, around: Surroundings, traffic: Traffic) -> set[str]:
    """Where something is sent to in vain, and no container is, and the configuration does not say so itself."""
    hosts = {one.host for one in upstreams.once}
    return {one for one in traffic.unanswered - hosts - around.taken if _is_within(one, around)}


def _lost(upstreams: Upstreams, around: Surroundings) -> set[str]:
    """Names of containers that are gone: names without a dot that nobody has."""
    hosts = {one.host for one in upstreams.once if not _behind(one, around)} - around.elsewhere
    return {host for host in hosts if "." not in host and ":" not in host}


def _is_reached(one: Upstream, late: dict[Upstream, list[Peer]], traffic: Traffic) -> bool:
    """Whether nginx is seen at its port, where nothing that was meant for another can have come."""
    return one.port not in _rivals(one, late) and all(_places(peer, one, traffic) for peer in late[one])


def _rivals(one: Upstream, late: dict[Upstream, list[Peer]]) -> set[int]:
    """Ports of upstreams whose containers may have changed places with those of this one."""
    return {other.port for other, peers in late.items() if _names([peers]) != _names([late[one]])}


def _places(peer: Peer, one: Upstream, traffic: Traffic) -> set[str]:
    """The addresses at which a container saw nginx, on the port of an upstream."""
    return {address for address, port in traffic.reached.get(peer.name, ()) if port == one.port}


def _is_met(one: Upstream, late: dict[Upstream, list[Peer]], traffic: Traffic) -> bool:
    """Whether its containers had to do with nginx's, and no others may have taken addresses from them."""
    own = _names([late[one]])
    return own <= traffic.met and _names(late.values()) == own


def _elsewhere(
    one: Upstream, upstreams: Upstreams, around: Surroundings, traffic: Traffic, loaded: float
) -> dict[str, str | None]:
    """Where nginx is seen on the port of this upstream, though nothing in its configuration leads there by now."""
    same_port = {other.host for other in upstreams.once if other.port == one.port}
    if upstreams.others or one.port in _rivals(one, late_ones(upstreams, around, loaded)):
        return {}
    if same_port & _lost(upstreams, around):
        return {}
    seen = {address for address, port in traffic.connected if port == one.port}
    found: dict[str, str | None] = {}
    for peer in around.peers:
        if peer.started > loaded and not same_port & (peer.names | peer.addresses):
            found |= dict.fromkeys(_places(peer, one, traffic) | (seen & peer.addresses), peer.name)
    free = {address for address in seen - around.taken - same_port if _is_within(address, around)}
    return found | dict.fromkeys(free)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_within(address: str, around: Surroundings) -> bool:
    return any(ip_address(address) in subnet for subnet in around.subnets)
