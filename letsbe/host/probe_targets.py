"""Which hosts may be probed: this machine, its containers, and what its administrator names. Nothing else.

An agent that connects wherever it is told would be a port scanner in the hands of whoever sends it tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address, ip_network

from letsbe.errors import LetsbeError
from letsbe.host.own_addresses import Address, own_addresses

#: The configuration key that allows more.
RULE = "probes.allow"


class ProbeTargets:
    """``networks`` are those of :data:`RULE`; ``containers`` tells the containers' addresses, asked when needed."""

    def __init__(self, networks: Iterable[str], containers: Callable[[], set[str]]) -> None:
        self._networks = [ip_network(one) for one in networks]
        self._containers = containers

    def checked(self, host: str) -> list[str]:
        """The addresses of a host, each allowed, to connect to as they are: a name is not resolved a second time.

        ``probe_refused`` when one may not be probed; empty when the name has none.
        """
        addresses = _resolved(host)
        for address in addresses:
            if not self._is_allowed(address):
                raise _refused(host, address)
        return [str(address) for address in addresses]

    def _is_allowed(self, address: Address) -> bool:
        plain = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
        if plain.is_loopback or plain.is_unspecified:
            return True
        if any(plain in network for network in self._networks):
            return True
        without_zone = ip_address(str(plain).partition("%")[0])
        return without_zone in own_addresses() or str(without_zone) in self._containers()


def _resolved(host: str) -> list[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        pass
    import socket

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(ip_address(one[4][0]) for one in found))


def _refused(host: str, address: Address) -> LetsbeError:
    shown = host if host == str(address) else f"{host} ({address})"
    return LetsbeError(
        "probe_refused",
        f"{shown} may not be probed: it is neither this machine nor one of its containers ({RULE})",
        hint=f"An administrator of this host can add its network to {RULE} in the configuration.",
        details={"rule": RULE, "host": host, "address": str(address)},
    )
