"""Outcomes drawn for a person: the verdict first, then what there is to know."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from letsbe.cli.drawings import drawn
from letsbe.decoding import convert
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.protocol import Outcome

_COLOURS = {"succeeded": "green", "refused": "yellow", "interrupted": "yellow", "cancelled": "yellow"}
_MAX_CELL = 4000
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
#: What is invisible or turns the direction of what follows: text that has them reads as something else than it is.
_UNSEEN = (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_CONTROLS |= {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSEEN}


def draw_outcome(console: Console, outcome: Outcome) -> None:
    """Verdict, error with its hint, warnings, data."""
    console.print(_outcome(outcome))


def _outcome(outcome: Outcome) -> RenderableType:
    parts: list[RenderableType] = [_verdict(outcome)]
    if outcome.error is not None:
        parts.append(Text("  " + printable(outcome.error.message), "bold"))
        if outcome.error.hint:
            parts.append(Text("  " + printable(outcome.error.hint)))
    parts += [Text.assemble(("  warning ", "yellow"), printable(warning)) for warning in outcome.warnings]
    data = _worth_saying(outcome)
    diff = data.pop("diff", None)
    own = drawn(outcome.type, outcome.data)
    if own is not None:
        parts.append(own)
    elif data:
        parts.append(_mapping(data))
    if isinstance(diff, str):
        parts.append(draw_diff(diff))
    return Group(*parts)


def _worth_saying(outcome: Outcome) -> dict[str, Any]:
    """The data without what is as it always is: fields that have their default, or nothing in them."""
    defaults: dict[str, Any] = {}
    if outcome.type in EXECUTOR_REGISTRY:
        fields = msgspec.structs.fields(executor_class(outcome.type).data_type)
        defaults = {field.name: field.default for field in fields}
    return {
        key: value
        for key, value in outcome.data.items()
        if value not in (None, [], {}, "") and not (key in defaults and value == defaults[key])
    }


def printable(text: str) -> str:
    """The text with control characters spelled out: what a file or a program holds must not steer the terminal.

    So are invisible ones, and those that turn the direction of what follows.
    """
    return text.translate(_CONTROLS)


def draw_diff(diff: str) -> Text:
    """A unified diff, coloured."""
    text = Text()
    for line in printable(diff).split("\n"):
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        text.append(line + "\n", "bold" if line[:3] in ("+++", "---") else style)
    return text


def draw_value(value: Any) -> RenderableType:
    """A JSON value: mappings as key and value, lists of mappings as tables, the rest as text."""
    if isinstance(value, dict):
        if value.keys() >= {"status", "success", "changed", "agent_version"}:
            return _outcome(msgspec.structs.replace(convert(value, Outcome), task_id=None))
        if value.keys() == {"id", "state", "outcome"}:
            return _step(value)
        return _mapping(value) if value else Text("-", "dim")
    if isinstance(value, list):
        return _list(value)
    if value is None or value == "":
        return Text("-", "dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    text = printable(str(value))
    return Text(text if len(text) <= _MAX_CELL else text[:_MAX_CELL] + " ...")


def _verdict(outcome: Outcome) -> Text:
    colour = _COLOURS.get(outcome.status, "red")
    mark = "✓" if outcome.success else "✗"
    if outcome.check:
        changed = "would change" if outcome.changed else "would change nothing"
    else:
        changed = "changed" if outcome.changed else "nothing changed"
    text = Text.assemble((f"{mark} {outcome.type} {outcome.status}", f"bold {colour}"), f", {changed}")
    text.append(f", {outcome.duration_ms} ms", "dim")
    if outcome.task_id:
        text.append(f"  {outcome.task_id}", "dim")
    return text


def _step(step: dict[str, Any]) -> RenderableType:
    """A step of a COMPOSITE: its name, what became of it, and its outcome."""
    colour = {"ok": "green", "failed": "red"}.get(step["state"], "yellow")
    title = Text.assemble((step["id"], "bold"), " ", (step["state"].replace("_", " "), colour))
    return title if step["outcome"] is None else Group(title, draw_value(step["outcome"]))


def _mapping(value: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, item in value.items():
        if item in (None, "", [], {}):
            continue
        table.add_row(f"  {printable(key)}", draw_value(item))
    return table


def _list(values: list[Any]) -> RenderableType:
    if not values:
        return Text("-", "dim")
    if all(isinstance(value, dict) for value in values):
        columns = [
            key
            for key in dict.fromkeys(key for value in values for key in value)
            if any(value.get(key) not in (None, "", [], {}, False) for value in values)
        ]
        if len(columns) <= 10 and all(_fits_a_cell(value.get(key)) for value in values for key in columns):
            table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
            for column in columns:
                table.add_column(printable(column), overflow="fold")
            for value in values:
                table.add_row(*(_cell(value.get(column)) for column in columns))
            return table
    if any(isinstance(value, (dict, list)) for value in values):
        return Group(*(part for value in values for part in (draw_value(value), "")))
    return Group(*(draw_value(value) for value in values))


def _fits_a_cell(value: Any) -> bool:
    if isinstance(value, list):
        return not any(isinstance(item, (dict, list)) for item in value)
    return not isinstance(value, dict)


def _cell(value: Any) -> RenderableType:
    return draw_value(", ".join(map(str, value)) if isinstance(value, list) else value)
