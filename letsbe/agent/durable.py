"""Small files of the agent's own that must be whole or not there, on disk before the next step is taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from letsbe.errors import LetsbeError


def write_private(path: str, content: bytes) -> None:
    """Replace ``path`` atomically, mode 0600; file and directory are synced when it returns. ``state_unusable``."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with usable(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)  # on a full disk each try would take more of what is left
            raise
        sync_directory(os.path.dirname(path))


def remove(path: str) -> None:
    """Remove a file if it is there. ``state_unusable``."""
    with usable(path), suppress(FileNotFoundError):
        os.unlink(path)


@contextmanager
def usable(path: str) -> Iterator[None]:
    """What the operating system says of the agent's own files, as ``state_unusable``."""
    try:
        yield
    except OSError as error:
        raise LetsbeError(
            "state_unusable",
            f"state {error.filename or path}: {error.strerror or error}",
            hint="Is the disk full? `letsbe doctor` looks further.",
        ) from error


def sync_directory(path: str) -> None:
    """Put a directory's entries on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
