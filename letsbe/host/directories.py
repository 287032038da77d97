"""Making directories, and putting their entries on disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_directory(name: str, mode: int, parent: int | None = None) -> None:
    """Make one directory with its mode from its first moment on, whatever the umask is; FileExistsError.

    After a crash nobody could tell that it was to have another one. As with mkdir(1) a default ACL of the directory
    above has the last word.
    """
    before = os.umask(0o777 & ~mode)  # the whole process's: what other threads make names its own mode
    try:
        os.mkdir(name, mode, dir_fd=parent)
    finally:
        os.umask(before)


def make_directories(parent: int, names: Sequence[str], mode: int) -> None:
    """Make one directory inside the other below an open one, durably; one that is there meanwhile is taken."""
    current = os.open(".", _FLAGS, dir_fd=parent)
    try:
        for name in names:
            with suppress(FileExistsError):
                make_directory(name, mode, current)
                os.fsync(current)
            inner = os.open(name, _FLAGS, dir_fd=current)
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
