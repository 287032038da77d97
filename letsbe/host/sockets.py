"""Who listens on this machine: the kernel's tables of each network namespace, joined to the processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from msgspec import Struct

from letsbe.host import sock_diag
from letsbe.host.net_tables import Connection, NetSocket, Protocol, connections, listening
from letsbe.host.process_table import container_of

_TABLES: tuple[tuple[str, Protocol], ...] = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
#: Namespaces read at once.
PARALLEL = 8


class SocketOwner(Struct, frozen=True):
    """A process that holds a socket, and the container that its control group names."""

    pid: int
    process: str
    container_id: str | None


class Listening(Struct, frozen=True):
    """A listening socket; ``namespace_pid`` is the container's first process when it is not the host's own."""

    socket: NetSocket
    owner: SocketOwner | None
    namespace_pid: int | None


class Listeners(Struct, frozen=True):
    """All of them; ``complete`` is false when processes of others could not be looked at."""

    found: list[Listening]
    complete: bool


def listeners(container_pids: Iterable[int] = ()) -> Listeners:
    """What listens in this process's network namespace, and in those of some containers."""
    namespaces: dict[str, int | None] = {_namespace("self"): None}
    for pid in container_pids:
        with suppress(OSError):  # it has just ended
            namespaces.setdefault(_namespace(str(pid)), pid)
    sockets = [(one, pid) for pid, found in waiting(namespaces.values()).items() for one in found]
    holders, complete = _holders({one.inode for one, _ in sockets})
    found = [Listening(one, _owner(holders.get(one.inode)), pid) for one, pid in sockets]
    return Listeners(found, complete)


def _namespace(pid: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def waiting(pids: Iterable[int | None]) -> dict[int | None, list[NetSocket]]:
    """What waits for peers in the network namespaces of some processes, None being this one's.

    Those that have ended are left out. Without root, or with a kernel that can't be asked, its tables are read.
    """
    asked = dict.fromkeys(pids)
    found: dict[int | None, list[NetSocket]] = {}
    if None in asked and (here := sock_diag.waiting_here()) is not None:
        found[None] = here
    for pid, there in sock_diag.waiting_at([pid for pid in asked if pid is not None]).items():
        found[pid] = there
    rest = [pid for pid in asked if pid not in found]
    return found | tables(rest) if rest else found


def tables(pids: list[int | None]) -> dict[int | None, list[NetSocket]]:
    """The same from ``/proc``, side by side: for each table the kernel looks through the sockets of all namespaces."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(PARALLEL, len(pids)), "sockets") as pool:
        found = zip(pids, pool.map(lambda pid: list(_sockets(pid)), pids), strict=True)
        return {pid: sockets for pid, sockets in found if pid is None or os.path.exists(f"/proc/{pid}")}


def connected(pids: Iterable[int]) -> dict[int, set[Connection]]:
    """The TCP connections in the network namespaces of some processes, those of ended processes left out."""
    found: dict[int, set[Connection]] = {}
    for pid in pids:
        for name in ("tcp", "tcp6"):
            with suppress(OSError), open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
                found.setdefault(pid, set()).update(connections(table.read()))
    return found


def _sockets(pid: int | None) -> Iterator[NetSocket]:
    for name, proto in _TABLES:
        with suppress(OSError), open(f"/proc/{pid or 'self'}/net/{name}", encoding="ascii") as table:
            yield from listening(table.read(), proto)


def _holders(inodes: set[int]) -> tuple[dict[int, int], bool]:
    """The oldest process that holds each socket; several may, after a fork."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, int] = {}
    complete = True
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            complete = False
            continue
        except OSError:
            continue  # it has just ended
        for descriptor in descriptors:
            with suppress(OSError):
                inode = wanted.get(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
                if inode is not None:
                    found.setdefault(inode, pid)
    return found, complete


def _owner(pid: int | None) -> SocketOwner | None:
    if pid is None:
        return None
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            process = file.read().strip()
        return SocketOwner(pid, process, container_of(pid))
    except OSError:
        return None
