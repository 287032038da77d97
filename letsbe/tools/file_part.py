"""A part of a file, as text or as bytes, with secrets covered as if the whole had been read."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from letsbe.tools.redaction import MASK, Redactor, unmask

#: What is read before and after a part, in bytes: the key's name before a value, the head of a private key.
SURROUNDINGS = 64 * 1024

Encoding = Literal["utf-8", "binary"]


class Part(Struct, frozen=True, kw_only=True):
    """What stands from byte ``start`` to ``stop`` of the file. ``text`` is None for what is not UTF-8."""

    start: int
    stop: int
    text: str | None
    raw: bytes
    redacted: bool

    @property
    def encoding(self) -> Encoding:
        """``utf-8`` or ``binary``."""
        return "binary" if self.text is None else "utf-8"


def part_of(around: bytes, base: int, start: int, stop: int, redactor: Redactor | None) -> Part:
    """The part from ``start`` to ``stop`` out of ``around``, which begins at byte ``base`` of the file.

    A UTF-8 character is never split: one that ``start`` is inside of is given whole, one that ``stop`` is inside of is
    left for the next part. Without a redactor nothing is covered.
    """
    first, last = whole_characters(around, start - base, stop - base)
    try:
        text = around[first:last].decode()
    except UnicodeDecodeError:
        return _binary(around, base, start, stop, redactor)
    if "\0" in text:
        return _binary(around, base, start, stop, redactor)
    shown = text
    if redactor is not None:
        before = around[:first].decode(errors="replace")
        masked = redactor.mask(before + text + around[last:].decode(errors="replace"))
        shown = unmask(masked[len(before) : len(before) + len(text)])
    return Part(start=base + first, stop=base + last, text=shown, raw=around[first:last], redacted=shown != text)


def whole_characters(content: bytes, start: int, stop: int) -> tuple[int, int]:
    """Both ends moved back to where a UTF-8 character begins; an end where none begins within 3 bytes stays."""
    return _character_start(content, start), max(_character_start(content, start), _character_start(content, stop))


def lines_from_start(content: bytes, lines: int) -> int:
    """How many bytes the first ``lines`` lines take."""
    position = 0
    for _ in range(lines):
        position = content.find(b"\n", position) + 1
        if position == 0:
            return len(content)
    return position


def lines_from_end(content: bytes, lines: int) -> int:
    """Where the last ``lines`` lines begin."""
    position = len(content) - 1 if content.endswith(b"\n") else len(content)
    for _ in range(lines):
        position = content.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1


def _character_start(content: bytes, position: int) -> int:
    for back in range(4):
        at = position - back
        if at <= 0 or at >= len(content):
            return max(0, min(position, len(content))) if at > 0 else 0
        if content[at] & 0xC0 != 0x80:
            return at if _is_inside(content[at], back) else position
    return position


def _is_inside(lead: int, back: int) -> bool:
    """Whether a byte ``back`` after the lead byte belongs to its character."""
    length = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2 if lead >= 0xC0 else 1
    return back < length


def _binary(around: bytes, base: int, start: int, stop: int, redactor: Redactor | None) -> Part:
    raw = around[start - base : stop - base]
    shown = raw
    if redactor is not None:
        masked = redactor.mask(around.decode("latin-1"))[start - base : stop - base]
        shown = masked.replace(MASK, "*").encode("latin-1")
    return Part(start=start, stop=start + len(raw), text=None, raw=shown, redacted=shown != raw)
