"""Files that must be whole or absent: keys, certificates, the configuration."""

from __future__ import annotations

import os
import stat
import tempfile

from letsbe.errors import LetsbeError


def write_new(path: str, content: bytes) -> bool:
    """Write ``path`` (mode 0600), whole or not at all; False when it is there already, which is left alone."""
    temporary = _temporary(path, content)
    try:
        os.link(temporary, path)  # unlike rename, never replaces
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    _sync_directory(path)
    return True


def replace(path: str, content: bytes) -> None:
    """Write ``path`` (mode 0600) in one step: a reader sees the old content or the new one."""
    os.replace(_temporary(path, content), path)
    _sync_directory(path)


def read(path: str) -> bytes:
    """The content of ``path``. Raises ``file_unreadable``."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise LetsbeError(
            "file_unreadable",
            f"{path}: {error.strerror}",
            hint="Run as the user that made it, or restore it from a backup.",
        ) from error


def refuse_if_exposed(path: str) -> None:
    """Raise ``unsafe_permissions`` when others than the owner may open ``path``, or it is not the user's own."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise LetsbeError("file_unreadable", f"{path}: {error.strerror}", hint="Run as its owner.") from error
    if found.st_uid not in (os.geteuid(), 0):
        raise LetsbeError(
            "unsafe_permissions",
            f"{path} belongs to uid {found.st_uid}, which could change it",
            hint=f"chown {os.geteuid()} {path}",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise LetsbeError(
            "unsafe_permissions",
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"chmod go= {path}",
        )


def _temporary(path: str, content: bytes) -> str:
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


def _sync_directory(path: str) -> None:
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
