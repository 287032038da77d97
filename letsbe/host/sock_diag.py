"""Waiting sockets, asked of the kernel by their state: sock_diag(7), ``linux/inet_diag.h``.

``/proc/PID/net/tcp`` walks the kernel's whole table of sockets for each namespace; this costs a fraction of it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address

from letsbe.host.net_tables import NetSocket, Protocol, plain_address
from letsbe.host.netlink import dumps, in_namespaces

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI48x")
#: Family, then past state and timer the local port, past the peer's the local address; the inode is the last word.
_SOCKET = struct.Struct("=B3x2s2x16s16x12x16xI")
_LISTEN, _CLOSE = 1 << 10, 1 << 7
_PROTOCOLS: tuple[tuple[int, int, Protocol], ...] = (
    (socket.IPPROTO_TCP, _LISTEN, "tcp"),
    (socket.IPPROTO_UDP, _CLOSE, "udp"),  # a UDP socket that is connected to nobody
)
_QUESTIONS = [
    (family, number, states, proto)
    for family in (socket.AF_INET, socket.AF_INET6)
    for number, states, proto in _PROTOCOLS
]


def waiting_here() -> list[NetSocket] | None:
    """What waits for peers in this thread's network namespace; None when this kernel can't be asked so."""
    questions = [(_BY_FAMILY, _REQUEST.pack(family, number, 0, states)) for family, number, states, _ in _QUESTIONS]
    try:
        return [_socket(message, _QUESTIONS[place][3]) for place, message in dumps(_SOCK_DIAG, questions)]
    except OSError:
        return None


def waiting_at(pids: Iterable[int]) -> dict[int, list[NetSocket]]:
    """What waits in the namespaces of some processes, which takes root; without those that can't be looked at."""
    return in_namespaces(pids, waiting_here)


def _socket(message: bytes, proto: Protocol) -> NetSocket:
    family, port, address, inode = _SOCKET.unpack_from(message)
    packed = address[:4] if family == socket.AF_INET else address
    return NetSocket(proto, plain_address(ip_address(packed)), int.from_bytes(port, "big"), inode)
