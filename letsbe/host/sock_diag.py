"""Waiting sockets, asked of the kernel by their state: sock_diag(7), ``linux/inet_diag.h``.

``/proc/PID/net/tcp`` walks the kernel's whole table of sockets for each namespace; this costs a fraction of it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from ipaddress import ip_address

from letsbe.host.net_tables import NetSocket, Protocol, plain_address

_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_DONE, _ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
#: Family, then past state and timer the local port, past the peer's the local address; the inode is the last word.
_SOCKET = struct.Struct("=B3x2s2x16s16x12x16xI")
_LISTEN, _CLOSE = 1 << 10, 1 << 7
_PROTOCOLS: tuple[tuple[int, int, Protocol], ...] = (
    (socket.IPPROTO_TCP, _LISTEN, "tcp"),
    (socket.IPPROTO_UDP, _CLOSE, "udp"),  # a UDP socket that is connected to nobody
)
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NEW_NET = 0x4000_0000
_ANSWER_S = 2.0
_PIECE = 64 * 1024


def waiting_here() -> list[NetSocket] | None:
    """What waits for peers in this thread's network namespace; None when this kernel can't be asked so."""
    try:
        with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)) as netlink:
            netlink.settimeout(_ANSWER_S)
            return [
                found
                for family in _FAMILIES
                for number, states, proto in _PROTOCOLS
                for found in _asked(netlink, family, number, states, proto)
            ]
    except OSError:
        return None


def waiting_at(pids: Iterable[int]) -> dict[int, list[NetSocket]]:
    """What waits in the namespaces of some processes, which takes root; without those that can't be looked at.

    A thread that ends afterwards goes into one after the other, so that this process stays where it is.
    """
    from threading import Thread

    found: dict[int, list[NetSocket]] = {}

    def visit() -> None:
        from ctypes import CDLL  # costs milliseconds, which `letsbe echo` must not pay

        enter = CDLL(None, use_errno=True).setns
        for pid in pids:
            try:
                descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # it has just ended, or is another's
            try:
                sockets = waiting_here() if enter(descriptor, _NEW_NET) == 0 else None
            finally:
                os.close(descriptor)
            if sockets is not None:
                found[pid] = sockets

    visitor = Thread(target=visit, name="namespaces")
    visitor.start()
    visitor.join()
    return found


def _asked(netlink: socket.socket, family: int, number: int, states: int, proto: Protocol) -> Iterator[NetSocket]:
    question = _REQUEST.pack(family, number, 0, states)
    netlink.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + question)
    while True:
        answer = netlink.recv(_PIECE)
        position = 0
        while position + _HEADER.size <= len(answer):
            length, kind, *_ = _HEADER.unpack_from(answer, position)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel knows no sock_diag")
            yield _socket(answer, position + _HEADER.size, proto)
            position += (length + 3) & ~3


def _socket(answer: bytes, position: int, proto: Protocol) -> NetSocket:
    family, port, address, inode = _SOCKET.unpack_from(answer, position)
    packed = address[:4] if family == socket.AF_INET else address
    return NetSocket(proto, plain_address(ip_address(packed)), int.from_bytes(port, "big"), inode)
