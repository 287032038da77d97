"""File systems whose files are questions to the kernel: reading one may block, and writing one acts."""

from __future__ import annotations

import os

_KERNEL = frozenset(
    {
        *("proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs", "fusectl", "bpf"),
        *("pstore", "efivarfs", "binfmt_misc", "devpts", "mqueue", "nsfs", "selinuxfs", "rpc_pipefs"),
    }
)


def kernel_filesystem(descriptor: int) -> str | None:
    """The type of the file system that an open file is on when it is one of the kernel's (``proc``), else None."""
    if os.fstatvfs(descriptor).f_blocks:
        return None  # it has a size, which none of them has
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as info:
        mount = next((line.split()[1] for line in info if line.startswith(b"mnt_id:")), b"")
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            if line.split(None, 1)[0] == mount:
                kind = line.partition(b" - ")[2].split()[0].decode()
                return kind if kind in _KERNEL else None
    return None
