"""What the file layer gives and takes: file status, content, changes, and who is told of them."""

from __future__ import annotations

import stat
from enum import Enum
from typing import Final, Literal, Protocol

from msgspec import Struct

FileType = Literal["file", "directory", "symlink", "fifo", "socket", "block_device", "char_device"]


class FileStat(Struct, frozen=True, kw_only=True):
    """A file's status. ``mode`` is the permission bits (0o7777); ``mtime`` seconds since the epoch; ``size`` bytes."""

    path: str
    type: FileType
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    inode: int
    device: int
    links: int


class FileContent(Struct, kw_only=True):
    """What a regular file holds, and its status when it was read."""

    content: bytes
    stat: FileStat

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, in hex."""
        return sha256_of(self.content)


class Change(Struct, frozen=True, kw_only=True):
    """What a write or removal came to; None stands for a file that is not there."""

    path: str
    before_sha256: str | None
    after_sha256: str | None
    changed: bool
    in_place: bool = False


class PendingChange(Struct, frozen=True, kw_only=True):
    """A change that is about to be made.

    ``temp_path`` is the file beside it that a crash may leave; None when the file itself is written, re-owned or
    removed.
    """

    path: str
    before: FileContent | None
    after_sha256: str | None
    temp_path: str | None


class ChangeRecorder(Protocol):
    """Who is told of each change before its first effect, so that it can be explained and undone after a crash."""

    def about_to_change(self, change: PendingChange) -> int:
        """Keep what is there and note the intent, durably; returns a ticket."""

    def settled(self, ticket: int) -> None:
        """The change is on disk, or not even begun: nothing of it is half done."""


class Anything(Enum):
    """See :data:`ANY`."""

    ANY = "any"


#: For ``expect``: whatever the file holds is all right.
ANY: Final = Anything.ANY

Expectation = FileContent | Literal[Anything.ANY] | None

_TYPES: dict[int, FileType] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block_device",
    stat.S_IFCHR: "char_device",
}


def file_type(mode: int) -> FileType:
    """The type that ``st_mode`` tells."""
    return _TYPES[stat.S_IFMT(mode)]


def sha256_of(content: bytes) -> str:
    """SHA-256 in hex."""
    from hashlib import sha256

    return sha256(content).hexdigest()
