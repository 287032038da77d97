"""Facts about this machine that nothing changes."""

from __future__ import annotations

import os


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


def is_root() -> bool:
    """Whether this process runs as root."""
    return os.geteuid() == 0


def runs_systemd() -> bool:
    """Whether systemd runs this machine: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")
