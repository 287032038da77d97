"""Sockets in ``/proc/PID/net/{tcp,tcp6,udp,udp6}``: see proc(5) and the kernel's proc_net_tcp.rst."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from msgspec import Struct

Protocol = Literal["tcp", "udp"]

_LISTEN = "0A"
#: A UDP socket that is connected to nobody.
_UNCONNECTED = "07"


class Connection(Struct, frozen=True):
    """A TCP connection that is asked for, is there or has just ended: this side's address and port, and the other's."""

    addr: str
    port: int
    peer: str
    peer_port: int


class NetSocket(Struct, frozen=True):
    """A socket that takes what comes: its address, its port, and its inode, which processes hold it by."""

    proto: Protocol
    addr: str
    port: int
    inode: int


def listening(table: str, proto: Protocol) -> Iterator[NetSocket]:
    """The sockets of one table that wait for peers; lines that can't be read are left out."""
    wanted = _LISTEN if proto == "tcp" else _UNCONNECTED
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != wanted:
            continue
        try:
            address, _, port = fields[1].partition(":")
            yield NetSocket(proto, _address(address), int(port, 16), int(fields[9]))
        except ValueError:
            continue


def connections(table: str) -> Iterator[Connection]:
    """The connections of one table; lines that can't be read are left out."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] == _LISTEN:
            continue
        try:
            (address, _, port), (peer, _, peer_port) = fields[1].partition(":"), fields[2].partition(":")
            yield Connection(_address(address), int(port, 16), _address(peer), int(peer_port, 16))
        except ValueError:
            continue


def plain_address(address: IPv4Address | IPv6Address) -> str:
    """An address as people write it; an IPv4 address in IPv6's clothes is written as IPv4."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _address(text: str) -> str:
    """Words of 32 bits, each in the machine's own byte order."""
    words = [bytes.fromhex(text[start : start + 8]) for start in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return plain_address(ip_address(packed))
