"""A regular file that is open for reading parts of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from letsbe.host.file_types import FileStat


class OpenFile:
    """Positioned reads; every answer is about the one file that was opened, whatever its name means by now."""

    def __init__(self, stat: FileStat, *, descriptor: int = -1, content: bytes | None = None) -> None:
        self.stat = stat
        self._descriptor = descriptor
        self._content = content

    @property
    def size(self) -> int:
        """Bytes, as they were when it was opened."""
        return self.stat.size

    def pread(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``; fewer only at the end of the file."""
        if self._content is not None:
            return self._content[offset : offset + count]
        parts: list[bytes] = []
        while count > 0 and (chunk := os.pread(self._descriptor, count, offset)):
            parts.append(chunk)
            offset += len(chunk)
            count -= len(chunk)
        return b"".join(parts)

    def sha256(self) -> str:
        """SHA-256 of the whole file, in hex."""
        from hashlib import sha256

        digest = sha256()
        offset = 0
        while chunk := self.pread(offset, 1 << 20):
            digest.update(chunk)
            offset += len(chunk)
        return digest.hexdigest()


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """A descriptor of a file that is nowhere on disk and holds this."""
    descriptor = os.memfd_create("letsbe")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield descriptor
    finally:
        os.close(descriptor)
