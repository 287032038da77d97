"""Which process a record was made by, and whether it still runs: pid, start time and boot, since pids are reused."""

from __future__ import annotations

import os

from msgspec import Struct


class ProcessIdentity(Struct, frozen=True):
    """One process, for as long as the machine is up."""

    pid: int
    started: int
    boot_id: str


def this_process() -> ProcessIdentity:
    """The running process."""
    pid = os.getpid()
    return ProcessIdentity(pid, _start_time(pid) or 0, boot_id())


def is_alive(process: ProcessIdentity) -> bool:
    """Whether exactly this process still runs; a zombie does not."""
    return process.boot_id == boot_id() and _start_time(process.pid) == process.started


def boot_id() -> str:
    """The kernel's random id of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; None when there is no such process, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
