"""Opening what is at a place, without ever waiting for it, and refusing what is no ordinary file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from letsbe.errors import LetsbeError
from letsbe.host.beneath import Place, refused
from letsbe.host.file_types import FileStat, file_type
from letsbe.host.kernel_filesystems import kernel_filesystem
from letsbe.host.os_errors import shown, told

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK = 1 << 20


@contextmanager
def regular_file(place: Place, access: int = os.O_RDONLY) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor of the regular file at a place, and its status.

    Raises ``path_refused`` for anything else: looked at before it is opened, since opening a FIFO or a device acts, and
    again after, since it may have been exchanged in between. FileNotFoundError when there is nothing.
    """
    require_directory(place)
    _require_regular(place, os.stat(place.name, dir_fd=place.directory, follow_symlinks=False))
    try:
        descriptor = os.open(place.name, access | _FLAGS, dir_fd=place.directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise refused(place.canonical, "was exchanged while it was opened", "Run again.") from None
        raise
    try:
        status = os.fstat(descriptor)
        _require_regular(place, status)
        if (kernel := kernel_filesystem(descriptor)) is not None:
            raise refused(place.canonical, f"on the kernel's {kernel} file system", "Only real files are taken.")
        yield descriptor, status
    finally:
        os.close(descriptor)


def require_directory(place: Place) -> None:
    """Raise ``directory_missing`` when the directory that would hold the file is not there."""
    if place.missing:
        parent = os.path.dirname(place.canonical)
        raise LetsbeError(
            "directory_missing",
            f"{shown(parent)} does not exist",
            hint="Make the directory first, or let FILE_WRITE do it with make_dirs.",
        )


def _require_regular(place: Place, status: os.stat_result) -> None:
    kind = file_type(status.st_mode)
    if kind == "symlink":
        raise refused(place.canonical, "became a symlink while it was looked at", "Run again.")
    if kind != "file":
        words = kind.replace("_", " ")
        raise refused(place.canonical, f"is a {words}, not a file", "Only regular files are read and written.")
    if status.st_nlink > 1:
        raise refused(
            place.canonical,
            f"has {status.st_nlink} hard links, of which some may be outside the allowed roots",
            "Break the link: cp -p FILE FILE.new && mv FILE.new FILE",
        )


def status_of(path: str, status: os.stat_result) -> FileStat:
    """The status in our own terms."""
    return FileStat(
        path=path,
        type=file_type(status.st_mode),
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime,
        inode=status.st_ino,
        device=status.st_dev,
        links=status.st_nlink,
    )


def read_all(place: Place, descriptor: int, size: int, max_bytes: int) -> bytes:
    """Everything in an open file; ``file_too_large`` when that is more than ``max_bytes``."""
    if size > max_bytes:
        raise too_large(place.canonical, size, max_bytes)
    with told(place.canonical):
        parts: list[bytes] = []
        total = 0
        while chunk := os.read(descriptor, _CHUNK):
            parts.append(chunk)
            total += len(chunk)
            if total > max_bytes:  # it grew meanwhile
                raise too_large(place.canonical, total, max_bytes)
    return b"".join(parts)


def too_large(path: str, size: int, max_bytes: int) -> LetsbeError:
    """``file_too_large`` with both figures."""
    return LetsbeError(
        "file_too_large",
        f"{shown(path)} holds {size} bytes, at most {max_bytes} are taken",
        hint="FILE_INSPECT reads large files in parts; limits.file_bytes in the configuration bounds what is written.",
        details={"size": size, "max_bytes": max_bytes},
    )
