"""Searching an open file for lines, within limits of output and time."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from letsbe.host.clock import Deadline
from letsbe.host.files import OpenFile
from letsbe.tools.file_part import SURROUNDINGS
from letsbe.tools.line_search import Line, piece_end, search_piece
from letsbe.tools.redaction import Redactor

#: Read and searched at once; a longer line is searched in pieces of this many bytes.
PIECE = 1024 * 1024


class Found(Struct, kw_only=True):
    """The lines that match, with their number counted from where the search began, and where to go on."""

    lines: list[tuple[int, Line]] = []
    truncated: bool = False
    next_offset: int = 0


class FileSearch:
    """One search. It ends when ``max_matches`` lines or ``max_bytes`` of them were found, or at the deadline."""

    def __init__(self, matches: Callable[[str], bool], *, max_matches: int, max_bytes: int, deadline: Deadline) -> None:
        self._matches = matches
        self._max_matches = max_matches
        self._room = max_bytes
        self._deadline = deadline
        self._number = 1
        self._began_at = 0
        self._found = Found()

    def run(self, file: OpenFile, offset: int, redactor: Redactor | None) -> Found:
        """Search from byte ``offset`` on; without a redactor secrets are searched and shown."""
        found = self._found
        found.next_offset = self._began_at = min(offset, file.size)
        while found.next_offset < file.size and not found.truncated:
            position = found.next_offset
            piece = file.pread(position, PIECE)
            if not piece:
                break  # it was cut short meanwhile
            stop = position + piece_end(piece, position + len(piece) >= file.size)
            first = max(0, position - SURROUNDINGS)
            around = file.pread(first, stop - first + SURROUNDINGS)
            for line in search_piece(around, first, position, stop, self._matches, redactor):
                if not self._take(line):
                    break
        return found

    def _take(self, line: Line) -> bool:
        """Keep a line if it matches; False when the search is over before it."""
        found = self._found
        size = len(line.text.encode()) if line.matches else 0
        is_full = line.matches and (len(found.lines) == self._max_matches or (size > self._room and found.lines))
        is_late = line.start > self._began_at and self._deadline.remaining() == 0  # one line at least: it goes on
        if is_full or is_late:
            found.truncated, found.next_offset = True, line.start
            return False
        if line.matches:
            self._room -= size
            found.lines.append((self._number, line))
        self._number += line.ends
        found.next_offset = line.stop
        return True
