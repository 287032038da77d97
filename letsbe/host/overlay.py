"""Check mode's memory: what would have been written, so that later reads of the same run give it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Literal

from letsbe.host.beneath import Place
from letsbe.host.file_types import ANY, Anything, FileContent, FileStat
from letsbe.host.replacing import Attributes


class Overlay:
    """Canonical path -> what the file would hold, None when it would be gone."""

    def __init__(self) -> None:
        self._files: dict[str, FileContent | None] = {}
        self._directories: set[str] = set()

    def get(self, canonical: str) -> FileContent | Literal[Anything.ANY] | None:
        """What a file would hold; ANY when nothing was done to it."""
        return self._files.get(canonical, ANY)

    @property
    def is_empty(self) -> bool:
        """Nothing would have been changed so far."""
        return not self._files and not self._directories

    def has_directory(self, canonical: str) -> bool:
        """Whether the directory would have been made."""
        return canonical in self._directories

    def put_directories(self, paths: Sequence[str]) -> None:
        """Directories would be made."""
        self._directories.update(paths)

    def put(self, place: Place, content: bytes, wanted: Attributes, before: FileContent | None) -> None:
        """A file would be written."""
        stat = FileStat(
            path=place.canonical,
            type="file",
            size=len(content),
            mode=wanted.mode,
            uid=wanted.uid,
            gid=wanted.gid,
            mtime=time.time(),
            inode=before.stat.inode if before else 0,
            device=before.stat.device if before else 0,
            links=1,
        )
        self._files[place.canonical] = FileContent(content=content, stat=stat)

    def drop(self, place: Place) -> None:
        """A file would be removed."""
        self._files[place.canonical] = None

    def applied_to(self, directory: str, entries: list[FileStat], max_depth: int) -> list[FileStat]:
        """A listing of a directory as it would be."""
        prefix = directory.rstrip("/") + "/"
        shown = {entry.path: entry for entry in entries}
        for path, content in self._files.items():
            relative = path.removeprefix(prefix)
            if relative == path or relative.count(os.sep) >= max_depth:
                continue
            shown.pop(relative, None)
            if content is not None:
                shown[relative] = _renamed(content.stat, relative)
        return [shown[path] for path in sorted(shown, key=lambda path: path.split(os.sep))]


def _renamed(stat: FileStat, path: str) -> FileStat:
    from msgspec.structs import replace

    return replace(stat, path=path)
