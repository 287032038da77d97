"""Facts about this machine that nothing changes."""

from __future__ import annotations

import os
from typing import NamedTuple


def hostname() -> str:
    """The host's name, as the kernel has it."""
    return os.uname().nodename


def uptime_s() -> int:
    """Seconds since the machine was started."""
    with open("/proc/uptime", encoding="ascii") as file:
        return int(float(file.read().split()[0]))


def free_bytes(path: str) -> int | None:
    """Bytes that an unprivileged user could still write to the file system of a path; None when it is not there."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


class DiskUse(NamedTuple):
    """How full a file system is, in percent of what its users may use; ``device`` tells file systems apart."""

    device: int
    bytes_pct: int
    inodes_pct: int


def disk_use(path: str) -> DiskUse | None:
    """How full the file system of a path is, as df(1) counts; None when it is not there."""
    try:
        status, device = os.statvfs(path), os.stat(path).st_dev
    except OSError:
        return None
    used = status.f_blocks - status.f_bfree
    files = status.f_files - status.f_ffree
    return DiskUse(device, _percent(used, used + status.f_bavail), _percent(files, status.f_files))


def _percent(part: int, whole: int) -> int:
    """Rounded up; 0 of nothing: some file systems count no inodes."""
    return -(-100 * part // whole) if whole else 0


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def runs_systemd() -> bool:
    """Whether systemd runs this machine: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")
