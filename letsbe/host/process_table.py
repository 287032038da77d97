"""The processes of this machine as /proc shows them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from msgspec import Struct

#: The environment variable that marks the processes of a run.
MARK = "LETSBE_RUN"

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


class TableEntry(Struct, frozen=True):
    """One process."""

    parent: int
    session: int
    #: Clock ticks since the machine was started.
    started: int
    ended: bool


def all_processes() -> dict[int, TableEntry]:
    """Every process there is."""
    found = ((int(name), one_process(int(name))) for name in os.listdir("/proc") if name.isdigit())
    return {pid: process for pid, process in found if process is not None}


def one_process(pid: int) -> TableEntry | None:
    """A process as /proc/PID/stat tells it (proc(5)); None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return TableEntry(int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))


def container_of(pid: int) -> str | None:
    """The id of the innermost container that a process's control groups name; OSError when it has ended."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        named = _CONTAINER_ID.findall(file.read())
    return named[-1] if named else None


def started_at(ticks: int) -> float:
    """A moment in clock ticks since the machine was started, in seconds since the epoch by the clock of now.

    So moments can be compared even if the clock was set between them.
    """
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def own_children() -> frozenset[int]:
    """The children of this process."""
    if not os.path.exists("/proc/thread-self/children"):  # a kernel without CONFIG_PROC_CHILDREN
        here = os.getpid()
        return frozenset(pid for pid, process in all_processes().items() if process.parent == here)
    while True:
        threads = os.listdir("/proc/self/task")
        found = frozenset(pid for thread in threads for pid in _children_of_thread(thread))
        if os.listdir("/proc/self/task") == threads:
            return found
        # One has ended since, and its children are another's now, which may have been asked before.


def _children_of_thread(thread: str) -> list[int]:
    try:
        with open(f"/proc/self/task/{thread}/children", "rb", buffering=0) as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []  # it has just ended


def kin(table: Mapping[int, TableEntry], seeds: set[int]) -> set[int]:
    """Processes, what they started, and the others of their sessions, which only kin can be of; never this process."""
    here = os.getpid()
    found = set(seeds)
    while True:
        sessions = {table[pid].session for pid in found} - {table[here].session, 0}
        more = {
            pid
            for pid, process in table.items()
            if pid not in found and pid != here and (process.parent in found or process.session in sessions)
        }
        if not more:
            return found
        found |= more


def is_marked(pid: int, mark: str) -> bool:
    """Whether a process was started with a mark in its environment, or one that begins with it and a slash."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            variables = file.read().split(b"\0")
    except OSError:
        return False  # it has ended, or is not ours to look at
    wanted = f"{MARK}={mark}".encode()
    return any(entry == wanted or entry.startswith(wanted + b"/") for entry in variables)
