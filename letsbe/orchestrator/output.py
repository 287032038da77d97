"""Standard output of the commands: drawn for a person, or one JSON document."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import RenderableType

    from letsbe.protocol import Outcome

OUTPUT_MODES = ("auto", "text", "json")

# What an agent sent is drawn on an administrator's terminal: an escape sequence in it must not be obeyed there.
# Nor is anything in it to be invisible, or to turn the direction of what follows.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")

_COLOURS = {
    "succeeded": "green",
    "finished": "green",
    "claimed": "cyan",
    "lapsed": "red",
    "failed": "red",
    "timed_out": "red",
    "interrupted": "red",
}


def is_text(mode: str) -> bool:
    """Whether to draw for a person: asked for, or left to us on a terminal."""
    return mode == "text" or (mode == "auto" and sys.stdout.isatty())


def write_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.encode(document))


def draw_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> None:
    """Print a table; ``empty`` is said instead when there are no rows."""
    _print(table(columns, rows, empty=empty))


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> RenderableType:
    """A table of plain text, for a terminal; ``empty`` when there are no rows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell), style=_COLOURS.get(str(cell), "")) for cell in row))
    return table if table.row_count else Text(empty)


def draw_fields(fields: dict[str, Any]) -> None:
    """Print names and values, those without a value left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", {}, []):
            table.add_row(Text(plain(name)), Text(plain(value), style=_COLOURS.get(str(value), "")))
    _print(table)


def draw_outcome(outcome: Outcome) -> None:
    """Print what a task came to: the verdict first, then what there is to know."""
    from rich.text import Text

    effect = ("would change" if outcome.check else "changed") if outcome.changed else "nothing to change"
    verdict = f"{plain(outcome.type)} {outcome.status}, {effect}, {outcome.duration_ms} ms"
    _print(Text(verdict, style=f"bold {_COLOURS.get(outcome.status, 'yellow')}"))
    error = outcome.error
    draw_fields(
        {
            "error": error and f"{error.code}: {error.message}",
            "hint": error and error.hint,
            "warnings": "\n".join(outcome.warnings),
            **outcome.data,
        }
    )


def plain(value: object) -> str:
    """A value as text that is safe on a terminal; lists and objects as JSON."""
    text = value if isinstance(value, str) else "" if value is None else _as_json(value)
    return _CONTROL.sub(lambda match: _spelled(ord(match[0])), text)


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _as_json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _print(what: RenderableType) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    Console(width=None if terminal else 160, highlight=False, markup=False, soft_wrap=not terminal).print(what)
