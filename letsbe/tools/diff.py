"""Unified diffs of files, redacted and bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from letsbe.tools.redaction import Redactor, unmask

MAX_BYTES = 64 * 1024
_CONTEXT = 3
#: Above this many pairs of lines between the common beginning and the common end, no finer match is looked for.
_MAX_PAIRS = 4_000_000

_Opcode = tuple[str, int, int, int, int]


class Diff(Struct, frozen=True):
    """A unified diff, cut at a line end when it was longer than allowed; empty when nothing differs."""

    text: str
    truncated: bool


def unified_diff(
    before: bytes | None, after: bytes | None, path: str, redactor: Redactor, max_bytes: int = MAX_BYTES
) -> Diff:
    """The difference between two contents of a file; None stands for no file.

    Secrets are found in the whole contents and covered before lines are chosen, so that a line out of the middle of a
    private key is covered too; a line whose secret changed is shown twice, covered. Binary content is only named.
    """
    if before == after:
        return Diff("", False)
    old_text, new_text = _text(before), _text(after)
    if old_text is None or new_text is None:
        return Diff(f"binary contents of {path} differ\n", False)
    head = [
        f"--- {path if before is not None else '/dev/null'}\n",
        f"+++ {path if after is not None else '/dev/null'}\n",
    ]
    old, new = _lines(old_text), _lines(new_text)
    shown = (_lines(redactor.mask(old_text)), _lines(redactor.mask(new_text)))
    return _bounded([*head], _hunks(old, new, *shown), max_bytes)


def _text(content: bytes | None) -> str | None:
    if content is None:
        return ""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a newline ends one."""
    return [line for line in text.replace("\n", "\n\0").split("\0") if line]


def _hunks(old: list[str], new: list[str], old_shown: list[str], new_shown: list[str]) -> Iterator[str]:
    for group in _groups(old, new):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from _marked(" ", old_shown[i1:i2])
            else:
                yield from _marked("-", old_shown[i1:i2])
                yield from _marked("+", new_shown[j1:j2])


def _groups(old: list[str], new: list[str]) -> Iterator[list[_Opcode]]:
    """Opcodes of the differing stretches with their context, as difflib groups them."""
    from difflib import SequenceMatcher

    start = _common(old, new)
    stop = _common(old[start:][::-1], new[start:][::-1])
    middle_old, middle_new = old[start : len(old) - stop], new[start : len(new) - stop]
    if len(middle_old) * len(middle_new) > _MAX_PAIRS:
        middle: Sequence[_Opcode] = [("replace", 0, len(middle_old), 0, len(middle_new))]
    else:
        middle = SequenceMatcher(None, middle_old, middle_new).get_opcodes()
    moved = [(tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in middle]
    end_old, end_new = len(old) - stop, len(new) - stop
    every = [
        ("equal", 0, start, 0, start),
        *moved,
        ("equal", end_old, len(old), end_new, len(new)),
    ]
    yield from _grouped([opcode for opcode in every if opcode[1] < opcode[2] or opcode[3] < opcode[4]])


def _grouped(opcodes: list[_Opcode]) -> Iterator[list[_Opcode]]:
    group: list[_Opcode] = []
    for number, (tag, i1, i2, j1, j2) in enumerate(opcodes):
        if tag != "equal":
            group.append((tag, i1, i2, j1, j2))
            continue
        if group:
            kept = min(_CONTEXT, i2 - i1)
            is_last = number == len(opcodes) - 1
            if not is_last and i2 - i1 <= 2 * _CONTEXT:
                group.append((tag, i1, i2, j1, j2))
                continue
            group.append((tag, i1, i1 + kept, j1, j1 + kept))
            yield group
            group = []
        if number < len(opcodes) - 1:
            kept = min(_CONTEXT, i2 - i1)
            group = [(tag, i2 - kept, i2, j2 - kept, j2)]
    if group:
        yield group


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines at the beginning are the same."""
    for number, (left, right) in enumerate(zip(old, new, strict=False)):
        if left != right:
            return number
    return min(len(old), len(new))


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.endswith("\n"):
            yield mark + unmask(line)
        else:
            yield f"{mark}{unmask(line)}\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> str:
    """As diff writes it: from 1; an empty range names the line before it."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start if length == 0 else start + 1},{length}"


def _bounded(parts: list[str], lines: Iterator[str], max_bytes: int) -> Diff:
    size = sum(len(part.encode()) for part in parts)
    for line in lines:
        size += len(line.encode())
        if size > max_bytes:
            return Diff("".join(parts), True)
        parts.append(line)
    return Diff("".join(parts), False)
