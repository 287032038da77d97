"""Making directories, and putting their entries on disk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_directories(parent: int, names: Sequence[str], mode: int) -> None:
    """Make one directory inside the other below an open one, durably; one that is there meanwhile is taken."""
    current = os.open(".", _FLAGS, dir_fd=parent)
    try:
        for name in names:
            made = True
            try:
                os.mkdir(name, 0o700, dir_fd=current)
            except FileExistsError:
                made = False
            inner = os.open(name, _FLAGS, dir_fd=current)
            if made:
                inherited = os.fstat(inner).st_mode & stat.S_ISGID
                os.fchmod(inner, mode | inherited)  # whatever the umask is
                os.fsync(current)
            os.close(current)
            current = inner
    finally:
        os.close(current)


def remove_empty_directory(parent: int, name: str) -> bool:
    """Remove a directory unless something is in it; whether it is gone."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    sync_directory(parent)
    return True


def sync_directory(directory: int) -> None:
    """Put a directory's entries on disk; the descriptor may be one of O_PATH."""
    descriptor = os.open(".", _FLAGS, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
