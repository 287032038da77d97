"""What the kernel answered, in terms that a person can act on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from letsbe.errors import LetsbeError

_MISSING = "Check the path; FILE_INSPECT with mode list shows what is there."
_IMMUTABLE = "The agent's user needs rights on it, and `lsattr` must not show it as immutable."
_READ_ONLY = "Remount it, or look in dmesg why it is so."
_CODES: dict[int, tuple[str, str, str]] = {
    errno.ENOENT: ("file_not_found", "does not exist", _MISSING),
    errno.EACCES: ("permission_denied", "permission denied", "The agent's user needs rights on it; or run as root."),
    errno.EPERM: ("permission_denied", "operation not permitted", _IMMUTABLE),
    errno.EROFS: ("read_only_filesystem", "is on a read-only file system", _READ_ONLY),
    errno.ENOSPC: ("disk_full", "no space left on its file system", "Free space (df -h, df -i), then run again."),
    errno.EDQUOT: ("disk_full", "the disk quota is used up", "Free space or raise the quota, then run again."),
    errno.ENOTDIR: ("not_a_directory", "a part of the path is no directory", "Check the path."),
    errno.EISDIR: ("path_refused", "is a directory, a file is meant", "Name a file."),
}


def os_error(path: str, error: OSError) -> LetsbeError:
    """The error for what the kernel said about ``path``."""
    code, words, hint = _CODES.get(
        error.errno or 0, ("io_error", f"{error.strerror or error}", "dmesg and the disk's state may tell more.")
    )
    return LetsbeError(code, f"{shown(path)}: {words}", hint=hint)


@contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what the kernel refuses inside the block into a :class:`LetsbeError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise os_error(path, error) from error


def shown(path: str) -> str:
    """A path as it may stand in a message: control characters escaped, at most 300 characters."""
    text = path if path.isprintable() else ascii(path)
    return text if len(text) <= 300 else f"{text[:200]}...{text[-60:]}"
