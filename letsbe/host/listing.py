"""Listing what is below a directory, in bounded memory."""

from __future__ import annotations

import os
import stat
from heapq import nsmallest

from letsbe.host.beneath import Place
from letsbe.host.file_types import FileStat
from letsbe.host.opening import status_of

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def entries_below(place: Place, max_depth: int, max_entries: int) -> list[FileStat]:
    """Status of the first ``max_entries`` entries by name, depth first; paths are relative to the directory."""
    found: list[FileStat] = []
    _collect(place.directory, place.name, "", max_depth, max_entries, found)
    return found


def _collect(parent: int, name: str, prefix: str, depth: int, room: int, found: list[FileStat]) -> None:
    descriptor = os.open(name, _FLAGS, dir_fd=parent)
    try:
        with os.scandir(descriptor) as entries:
            names = nsmallest(room - len(found), (entry.name for entry in entries))
        for child in names:
            if len(found) >= room:
                return
            try:
                status = os.stat(child, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone meanwhile
            found.append(status_of(prefix + child, status))
            if depth > 1 and stat.S_ISDIR(status.st_mode):
                try:
                    _collect(descriptor, child, f"{prefix}{child}/", depth - 1, room, found)
                except OSError:
                    continue  # no rights on it, or exchanged meanwhile: it is named, its entries are not
    finally:
        os.close(descriptor)
