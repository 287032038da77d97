"""Searching the lines of a file piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from letsbe.tools.redaction import Redactor, unmask

MAX_SHOWN = 2_000


class Line(Struct, frozen=True, kw_only=True):
    """A line that was looked at: its place in the file in bytes, and its text as it may be shown."""

    start: int
    stop: int
    ends: bool
    text: str
    matches: bool
    redacted: bool


def search_piece(
    around: bytes, base: int, start: int, stop: int, matches: Callable[[str], bool], redactor: Redactor | None
) -> Iterator[Line]:
    """Look at the lines from byte ``start`` to ``stop`` of a file, out of ``around``, which begins at byte ``base``.

    The search is in what may be shown, secrets covered: else it could be asked for a secret letter by letter.
    """
    before, part, after = (
        stretch.decode("utf-8", "surrogateescape")
        for stretch in (around[: start - base], around[start - base : stop - base], around[stop - base :])
    )
    shown = part
    if redactor is not None:
        shown = redactor.mask(before + part + after)[len(before) : len(before) + len(part)]
    position = start
    lines = part.split("\n")
    for number, (line, visible) in enumerate(zip(lines, shown.split("\n"), strict=True)):
        ends = number < len(lines) - 1
        if not ends and not line:
            return
        stop_of_line = position + len(line.encode("utf-8", "surrogateescape")) + ends
        text = unmask(visible).encode("utf-8", "surrogateescape").decode("utf-8", "replace").rstrip("\r")
        yield Line(
            start=position,
            stop=stop_of_line,
            ends=ends,
            text=text[:MAX_SHOWN],
            matches=matches(text),
            redacted=visible != line,
        )
        position = stop_of_line


def piece_end(piece: bytes, is_last: bool) -> int:
    """Where to end a piece so that lines stay whole: after its last newline, unless the line is too long for that."""
    if is_last:
        return len(piece)
    newline = piece.rfind(b"\n") + 1
    return newline or len(piece)
