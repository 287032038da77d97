"""HEALTHCHECK for a person: what failed first, what is well in one line, groups of log lines."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from letsbe.cli.ages import age
from letsbe.cli.draw import printable

_MARKS = {"fail": ("✗", "red"), "warn": ("!", "yellow")}
_MAX_HITS = 20


def draw(data: dict[str, Any]) -> RenderableType:
    """The verdict, what is wrong, a count of what is well, the logs."""
    checks = data.get("checks") or []
    verdict = {"ok": ("well", "green"), "warn": ("well, with warnings", "yellow"), "fail": ("unhealthy", "red")}
    words, colour = verdict[data["status"]]
    parts: list[RenderableType] = [Text(f"  {words}", f"bold {colour}")]
    wrong = [one for one in checks if one["status"] != "ok"]
    if wrong:
        parts.append(_table(wrong))
    well = [one["kind"] for one in checks if one["status"] == "ok"]
    if well:
        kinds = ", ".join(f"{well.count(kind)} {kind}" for kind in dict.fromkeys(well))
        parts.append(Text.assemble(("  ✓ ", "green"), f"{len(well)} well ", (f"({kinds})", "dim")))
    hits = data.get("log_hits") or []
    if hits:
        parts += [Text("  in the logs", "bold"), _hits(hits[:_MAX_HITS])]
    if len(hits) > _MAX_HITS:
        parts.append(Text(f"  and {len(hits) - _MAX_HITS} other kinds of lines", "dim"))
    return Group(*parts)


def _table(checks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for one in checks:
        mark, colour = _MARKS[one["status"]]
        expected = (f"\nexpected: {printable(one['expected'])}", "dim")
        message = Text.assemble((printable(one["message"]), colour), expected)
        table.add_row(Text(f"  {mark}", f"bold {colour}"), one["kind"], printable(one["target"]), message)
    return table


def _hits(hits: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2))
    table.add_column("lines", justify="right")
    for column in ("service", "last", "what they say"):
        table.add_column(column, overflow="fold")
    for one in hits:
        ago = f"{age(one['last'])} ago"
        table.add_row(str(one["count"]), printable(one["service"]), ago, printable(one["template"]))
    return table
