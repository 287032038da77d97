"""Whom network namespaces have talked to: the kernel's tables of neighbours, rtnetlink(7) and ``linux/neighbour.h``.

An entry stays for as long as the table has few, so that it is there says little about now: its state and age do.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address

from msgspec import Struct

from letsbe.host.netlink import dumps, in_namespaces

_ROUTE = 0
_GET_NEIGHBOUR = 30
#: Family and interface, then the state.
_QUESTION = struct.Struct("=B3xiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_DESTINATION, _CACHE_INFO = 1, 3
#: Ticks since it was confirmed and since it was used.
_AGES = struct.Struct("=II")
_INCOMPLETE, _FAILED, _NO_ARP = 0x01, 0x20, 0x40


class Neighbour(Struct, frozen=True, kw_only=True):
    """An address that something in a namespace had to do with."""

    address: str
    #: The last time that it was asked who has the address, somebody said so.
    answers: bool
    #: When something was last sent there while the kernel doubted the entry, in seconds since the epoch; None: unknown.
    used: float | None = None


def neighbours(pids: Iterable[int]) -> dict[int, list[Neighbour]]:
    """Those of some processes' namespaces, without processes that have ended; without root IPv4 alone, and no times."""
    wanted = list(dict.fromkeys(pids))
    found = in_namespaces(wanted, _asked)
    for pid in wanted:
        if pid not in found:
            with suppress(OSError), open(f"/proc/{pid}/net/arp", encoding="ascii") as table:
                found[pid] = list(_told(table.read()))
    return found


def _asked() -> list[Neighbour] | None:
    try:
        messages = [message for _, message in dumps(_ROUTE, [(_GET_NEIGHBOUR, _QUESTION.pack(0, 0, 0, 0, 0))])]
    except OSError:
        return None
    now, tick = time.time(), 1 / os.sysconf("SC_CLK_TCK")
    return [one for message in messages if (one := _neighbour(message, now, tick)) is not None]


def _neighbour(message: bytes, now: float, tick: float) -> Neighbour | None:
    """None for what needs no asking: loopback, groups."""
    _, _, state, _, _ = _QUESTION.unpack_from(message)
    given = dict(_attributes(message[_QUESTION.size :]))
    if state & _NO_ARP or _DESTINATION not in given:
        return None
    used = now - _AGES.unpack_from(given[_CACHE_INFO])[1] * tick if _CACHE_INFO in given else None
    answers = not state & (_INCOMPLETE | _FAILED)
    return Neighbour(address=str(ip_address(given[_DESTINATION])), answers=answers, used=used)


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, position)
        if length < _ATTRIBUTE.size:
            return
        yield kind, content[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3


def _told(table: str) -> Iterator[Neighbour]:
    """The lines of /proc/PID/net/arp: address, kind, flags, of which 2 says that it was answered."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2:
            yield Neighbour(address=fields[0], answers=bool(int(fields[2], 16) & 2))
