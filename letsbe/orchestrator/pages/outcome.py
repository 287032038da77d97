"""An outcome as something to draw: its nested data sorted into tables, lists, diffs and long texts. Pure."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from msgspec import Struct

#: Deeper data, and more parts than this, are left to the raw JSON: an agent is not trusted to be brief.
DEEPEST, MOST_PARTS = 10, 4_000
_MOST_COLUMNS = 8
_LONG_LINES, _LONG_CHARACTERS = 12, 800

_DIFF = re.compile(r"^--- .*\n\+\+\+ .*\n@@ ", re.MULTILINE)


class Node(Struct, frozen=True):
    """One value. ``parts`` are a mapping's or a list's; ``rows`` are a table's, below ``columns``."""

    kind: Literal["none", "word", "text", "diff", "fields", "list", "table", "more"]
    text: str = ""
    long: bool = False
    parts: list[tuple[str, Node]] = []
    columns: list[str] = []
    rows: list[list[Node]] = []


class Line(Struct, frozen=True):
    """A line of a diff, and what it is."""

    kind: Literal["added", "removed", "place", "same"]
    text: str


def draw(value: Any) -> Node:
    """The node of a value that came as JSON."""
    return _Drawing().node(value, 0)


def diff_lines(text: str) -> list[Line]:
    """The lines of a unified diff."""
    return [Line(_line_kind(line), line) for line in text.splitlines()]


def _line_kind(line: str) -> Literal["added", "removed", "place", "same"]:
    if line.startswith(("--- ", "+++ ", "@@ ")):
        return "place"
    return "added" if line.startswith("+") else "removed" if line.startswith("-") else "same"


class _Drawing:
    """Counts the parts of one picture."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def node(self, value: Any, depth: int) -> Node:
        self._left -= 1
        if self._left < 0:
            return Node("more")
        if isinstance(value, str):
            return _text(value)
        if value in (None, [], {}):
            return Node("none")
        if isinstance(value, (dict, list)):
            return Node("more") if depth >= DEEPEST else self._nested(value, depth + 1)
        return Node("word", {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))

    def _nested(self, value: dict[str, Any] | list[Any], depth: int) -> Node:
        if isinstance(value, dict):
            return Node("fields", parts=self._parts(list(value.items()), depth))
        columns = _columns(value)
        if columns:
            rows: list[list[Node]] = []
            for item in value:
                if self._left <= 0:
                    rows.append([Node("more")] + [Node("none")] * (len(columns) - 1))
                    break
                rows.append([self.node(item.get(column), depth) for column in columns])
            return Node("table", columns=columns, rows=rows)
        return Node("list", parts=self._parts([("", item) for item in value], depth))

    def _parts(self, items: list[tuple[str, Any]], depth: int) -> list[tuple[str, Node]]:
        parts: list[tuple[str, Node]] = []
        for name, item in items:
            parts.append((name, self.node(item, depth)))
            if self._left < 0:
                break
        return parts


def _text(text: str) -> Node:
    if _DIFF.search(text):
        return Node("diff", text, long=text.count("\n") > 4 * _LONG_LINES)
    if "\n" in text or len(text) > 200:
        return Node("text", text, long=text.count("\n") > _LONG_LINES or len(text) > _LONG_CHARACTERS)
    return Node("word", text)


def _columns(items: list[Any]) -> list[str]:
    """The columns when all items are flat mappings, which read best as a table; else none."""
    names: dict[str, None] = {}
    for item in items:
        if not isinstance(item, dict) or any(_is_big(value) for value in item.values()):
            return []
        names |= dict.fromkeys(item)
    return list(names) if len(items) > 1 and 0 < len(names) <= _MOST_COLUMNS else []


def _is_big(value: Any) -> bool:
    return isinstance(value, (dict, list)) if value not in ([], {}) else False


def raw_text(body: bytes) -> str:
    """The JSON that the agent sent, indented."""
    return msgspec.json.format(body, indent=2).decode()
