"""Removing what killed runs left behind.

SIGKILL of the first process leaves its ``_MEIxxxxxx`` directory. A directory is an orphan of letsbe when it belongs to
this user, rests since :data:`GRACE_S`, and

- holds the marker, and nobody locks it (an agent locks its own as soon as it runs), or
- lost the marker to a removal that was killed half-way: it is sticky, and holds only names that this file unpacks, or
- is empty: killed before anything was unpacked, or after nearly everything was removed.

Other programs' directories of that name are never touched, nor those of other users. Nothing follows a symlink: the
walk goes from descriptor to descriptor.
"""

from __future__ import annotations

import os
import stat
import time

from letsbe.frozen import MARKER, unpack_dir

#: Seconds for which a directory must have been left alone: unpacking takes a tenth of one.
GRACE_S = 120.0

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def sweep(*, now: float | None = None) -> list[str]:
    """Remove the orphans beside this process's own directory and in the standard places; returns their paths."""
    own = unpack_dir()
    if own is None:
        return []
    now = time.time() if now is None else now
    removed = []
    for place in dict.fromkeys([os.path.dirname(own), "/tmp", "/var/tmp"]):  # noqa: S108 - where the first process unpacks
        try:
            base = os.open(place, _DIRECTORY)
        except OSError:
            continue
        try:
            names = [name for name in os.listdir(base) if _is_candidate(name) and f"{place}/{name}" != own]
            removed += [f"{place}/{name}" for name in names if _remove_orphan(base, name, own, now)]
        except OSError:
            pass  # a place that can't be listed holds nothing that could be removed
        finally:
            os.close(base)
    return removed


def _is_candidate(name: str) -> bool:
    return name.startswith("_MEI")


def _remove_orphan(base: int, name: str, own: str, now: float) -> bool:
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=base)
    except OSError:
        return False
    try:
        found = os.fstat(directory)
        if found.st_uid != os.geteuid() or now - found.st_mtime < GRACE_S:
            return False
        names = os.listdir(directory)
        if MARKER in names:
            lock = _free_marker(directory)
            if lock is None:
                return False
            try:
                _empty(directory, found.st_dev)
            finally:
                os.close(lock)
        elif names and not (found.st_mode & stat.S_ISVTX and set(names) <= set(os.listdir(own))):
            return False
        else:
            _empty(directory, found.st_dev)
        os.rmdir(name, dir_fd=base)
    except OSError:
        return False  # in use, or another sweeper was faster
    finally:
        os.close(directory)
    return True


def _free_marker(directory: int) -> int | None:
    """The marker's descriptor with its lock taken; None when an agent holds it."""
    marker = os.open(MARKER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.lockf(marker, os.F_TLOCK, 0)
    except OSError:
        os.close(marker)
        return None
    return marker


def _empty(directory: int, device: int) -> None:
    """Remove what is in a directory, the marker last, so that a sweep that is killed can be resumed by the next."""
    for name in sorted(os.listdir(directory), key=MARKER.__eq__):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=directory)
        elif found.st_dev == device:  # nothing of another file system that somebody mounted there
            child = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _empty(child, device)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=directory)
