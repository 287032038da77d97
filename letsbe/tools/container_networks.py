"""What a container has around it on its networks, from the engine's descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from letsbe.tools.compose_project import container_name
from letsbe.tools.stale_upstreams import Peer, Surroundings

Json = dict[str, Any]

#: The engine's own networks, on which containers have no names.
_NAMELESS = ("bridge", "host", "none")
_LOCAL = frozenset(("localhost", "localhost.localdomain"))


def network_owner(container: Json) -> str | None:
    """The id of the container whose network another one shares; None: it has its own."""
    kind, _, name = str(container["HostConfig"].get("NetworkMode") or "").partition(":")
    return name if kind == "container" else None


def attached(container: Json) -> dict[str, Json]:
    """Its endpoints by the id of their network; of a container in either form of the engine's description."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {one["NetworkID"]: {**one, "Network": name} for name, one in networks.items() if one and one["NetworkID"]}


def addresses(endpoints: Iterable[Json]) -> frozenset[str]:
    """The addresses of some endpoints, as :mod:`ipaddress` writes them."""
    given = [one.get(key) for one in endpoints for key in ("IPAddress", "GlobalIPv6Address")]
    return frozenset(str(ip_address(one)) for one in given if one)


def surroundings(
    own: Json, peers: Iterable[tuple[Json, float]], listed: Iterable[Json], networks: Iterable[Json]
) -> Surroundings:
    """Around ``own``: ``peers`` are running containers in full, each with its start in seconds since the epoch.

    ``listed`` are all containers that there are, ``networks`` likewise.
    """
    here = {place: one for place, one in attached(own).items() if one["Network"] not in _NAMELESS}
    around = [one for one in networks if one["Id"] in attached(own) and one.get("Driver") == "bridge"]
    found = [(one, started, _shared(one, here)) for one, started in peers]
    return Surroundings(
        peers=[_peer(one, started, shared) for one, started, shared in found if shared and one["Id"] != own["Id"]],
        subnets=[ip_network(one["Subnet"], strict=False) for one in _ranges(around)],
        taken=frozenset(_taken(around, [*listed, own])),
        elsewhere=_LOCAL | _own_names(own, here.values()),
    )


def _shared(container: Json, here: Iterable[str]) -> list[Json]:
    return [one for place, one in attached(container).items() if place in here]


def _peer(container: Json, started: float, shared: list[Json]) -> Peer:
    return Peer(
        name=container_name(container),
        names=_names(container, shared),
        addresses=addresses(shared),
        fixed=all(_wanted(one) for one in shared),
        started=started,
    )


def _names(container: Json, endpoints: Iterable[Json]) -> frozenset[str]:
    """What it can be looked up by; each name with that of the network behind it too."""
    found: set[str] = set()
    for one in endpoints:
        own = [*(one.get("Aliases") or ()), *(one.get("DNSNames") or ())]
        own += [container_name(container), container["Id"][:12]]
        found.update(name.lower() for name in own)
        found.update(f"{name}.{one['Network']}".lower() for name in own)
    return frozenset(found)


def _own_names(own: Json, endpoints: Iterable[Json]) -> frozenset[str]:
    hosts = [one.partition(":")[0].lower() for one in own["HostConfig"].get("ExtraHosts") or ()]
    return _names(own, endpoints) | {*hosts, str(own["Config"].get("Hostname") or "").lower()}


def _wanted(endpoint: Json) -> list[str]:
    """The addresses that were asked for."""
    asked = endpoint.get("IPAMConfig") or {}
    return [str(ip_address(asked[key])) for key in ("IPv4Address", "IPv6Address") if asked.get(key)]


def _ranges(networks: Iterable[Json]) -> list[Json]:
    found = [one for network in networks for one in (network.get("IPAM") or {}).get("Config") or ()]
    return [one for one in found if one.get("Subnet")]


def _taken(networks: list[Json], containers: Iterable[Json]) -> Iterator[str]:
    """Addresses on some networks at which a container is, will be once it is started, or something else of theirs."""
    for one in containers:
        endpoints = attached(one).values()
        yield from addresses(endpoints)
        for endpoint in endpoints:
            yield from _wanted(endpoint)
            gateways = (endpoint.get("Gateway"), endpoint.get("IPv6Gateway"))
            yield from (str(ip_address(gateway)) for gateway in gateways if gateway)
    for found in _ranges(networks):
        given = [found.get("Gateway"), *(found.get("AuxiliaryAddresses") or {}).values()]
        subnet = ip_network(found["Subnet"], strict=False)
        yield from (str(ip_address(one.partition("/")[0])) for one in given if one)
        yield str(subnet.network_address)
        yield str(subnet.network_address + 1)  # the gateway, where the engine does not name it
        yield str(subnet.broadcast_address)
