"""The nginx that run in containers, as the titles of their processes tell."""

from __future__ import annotations

import os

from msgspec import Struct

from letsbe.host.process_table import TableEntry, all_processes, container_of, started_at

_MASTER = "nginx: master process "
#: Exactly: those that are shutting down have a longer title.
_WORKER = "nginx: worker process"


class NginxMaster(Struct, frozen=True, kw_only=True):
    """A master process in a container."""

    container_id: str
    #: What it was started with, the program first; words with spaces in them have come apart.
    command: tuple[str, ...]
    #: When it loaded the configuration that it has, in seconds since the epoch: its workers are started right after.
    loaded: float


def nginx_masters() -> list[NginxMaster]:
    """One for each container with an nginx, the one that loaded its configuration last; none where none can be seen."""
    masters = {pid: title for pid in _pids() if (title := _title(pid)).startswith(_MASTER)}
    containers = {pid: container for pid in masters if (container := _container(pid)) is not None}
    if not containers:
        return []
    table = all_processes()
    found: dict[str, NginxMaster] = {}
    for pid, container in containers.items():
        if pid not in table:
            continue  # it has just ended
        one = NginxMaster(
            container_id=container,
            command=tuple(masters[pid].removeprefix(_MASTER).split()),
            loaded=started_at(_loaded(pid, table)),
        )
        if container not in found or found[container].loaded < one.loaded:
            found[container] = one
    return list(found.values())


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").replace("\0", " ").rstrip() + " "
    except OSError:
        return ""


def _container(pid: int) -> str | None:
    try:
        return container_of(pid)
    except OSError:
        return None  # it has just ended


def _loaded(master: int, table: dict[int, TableEntry]) -> int:
    """The start of its oldest worker, else its own, in ticks since the machine was started."""
    children = [(one.started, pid) for pid, one in table.items() if one.parent == master]
    workers = [started for started, pid in children if _title(pid).rstrip() == _WORKER]
    return min(workers, default=table[master].started)
