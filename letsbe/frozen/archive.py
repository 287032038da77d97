"""Reading the archive at the end of the built file.

Its layout is PyInstaller's CArchive: entries, table of contents, cookie. The first process unpacks entries of some
types; entries of type ``a`` it leaves alone, and those are the *cold* ones: what most runs don't need.
"""

from __future__ import annotations

import os
import sys
from struct import Struct

_MAGIC = b"MEI\014\013\012\013\016"
_COOKIE = Struct("!8sIIII64s")  # magic, archive length, offset and length of the contents, Python, its library
_ENTRY = Struct("!IIIIBc")  # entry length, data offset, stored length, length, compressed, type; then the name
_TAIL = 64 * 1024  # the archive is the executable's last section: only section headers follow its cookie
_COLD = b"a"


class Archive:
    """The cold entries of the running file.

    Imports nothing that could itself be cold: it works while the first modules are being imported.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path or sys.executable
        with open(self.path, "rb") as file:
            tail_start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
            file.seek(tail_start)
            tail = file.read()
            at = tail.rindex(_MAGIC)
            _, length, toc_offset, toc_length, _, _ = _COOKIE.unpack_from(tail, at)
            start = tail_start + at + _COOKIE.size - length
            file.seek(start + toc_offset)
            #: Name -> offset in the file and size, in bytes.
            self.entries = _cold_entries(file.read(toc_length), start)

    def read(self, name: str) -> bytes:
        """The bytes of an entry; KeyError when there is none."""
        offset, size = self.entries[name]
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def unpack(self, name: str, target: str) -> None:
        """Write an entry to ``target``, which appears whole or not at all and belongs to this user alone."""
        offset, size = self.entries[name]
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        partial = f"{target}.{os.getpid()}"
        source = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        sink = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o700)
        try:
            end = offset + size
            while offset < end:
                offset += os.sendfile(sink, source, offset, end - offset)
        finally:
            os.close(sink)
            os.close(source)
        os.rename(partial, target)


def _cold_entries(contents: bytes, start: int) -> dict[str, tuple[int, int]]:
    entries: dict[str, tuple[int, int]] = {}
    at = 0
    while at < len(contents):
        entry_length, offset, stored, _, _, kind = _ENTRY.unpack_from(contents, at)
        if kind == _COLD:
            name = contents[at + _ENTRY.size : at + entry_length].rstrip(b"\0").decode()
            entries[name] = start + offset, stored
        at += entry_length
    return entries
