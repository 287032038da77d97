"""Whether a container still has what is at the source of its bind mount, or what was there when it started."""

from __future__ import annotations

import os
from typing import Literal

from letsbe.host.openat2 import open_in_root

Bound = Literal["same", "replaced", "gone", "newer", "unknown"]


def bound_now(source: str, pid: int, target: str, started: float) -> Bound:
    """Compare the source with what the process ``pid`` finds at ``target``, by inode; nothing is opened for reading.

    ``replaced``: another file or directory than the container's, since a rename leaves the old inode mounted.
    ``gone``: no source. Where the process can't be looked into, a file changed after ``started`` (seconds since the
    epoch) is ``newer``, and anything else ``unknown``.
    """
    try:
        outside = os.stat(source)
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "unknown"
    inside = _inside(pid, target)
    if inside is None:
        is_file = not os.path.isdir(source)
        return "newer" if is_file and outside.st_ctime > started else "unknown"
    return "same" if os.path.samestat(outside, inside) else "replaced"


def _inside(pid: int, target: str) -> os.stat_result | None:
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = open_in_root(root, target)
        if found is None:
            return None
        try:
            return os.fstat(found)
        finally:
            os.close(found)
    finally:
        os.close(root)
