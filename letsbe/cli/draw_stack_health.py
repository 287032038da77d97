"""STACK_HEALTH for a person: the verdict, what is wrong in red, what differs side by side."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from letsbe.cli.draw import printable

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_MAX_VALUE = 200


def draw(data: dict[str, Any]) -> RenderableType:
    """One line of summary, then what is not as declared, the worst first."""
    parts: list[RenderableType] = [_summary(data)]
    parts += [Text(f"  {line}", "red") for line in _not_running(data)]
    parts += [Text(f"  {line}", "yellow") for line in _odd(data)]
    if data.get("drift"):
        parts += [Text("differs from what is declared", "bold yellow"), _drift(data["drift"])]
    return Group(*parts)


def _summary(data: dict[str, Any]) -> Text:
    wanted = sum(one["scale"] for one in data["declared"] if one["active"])
    off = sum(not one["active"] and not one["running"] for one in data["declared"])
    words = [f"{len(data['running'])} of {wanted} containers run"]
    words += [f"{len(data['done'])} ended as they should"] if data["done"] else []
    if off:
        words.append("1 service is off by its profile" if off == 1 else f"{off} services are off by their profiles")
    verdict = data["verdict"]
    return Text.assemble(
        (printable(data["project"]), "bold"),
        (f"  {printable(data['dir'])}  ", "dim"),
        (verdict, f"bold {_COLOURS.get(verdict, '')}"),
        f"  {', '.join(words)}",
    )


def _not_running(data: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['service']} is missing" + (f": {one['actual']} of {one['declared']} are there" if one["actual"] else "")
        for one in data["missing"]
    ]
    for one in data["stopped"]:
        code = "" if one["exit_code"] is None else f" with {one['exit_code']}"
        lines.append(f"{one['container']} is {one['state']}{code}")
    lines += [f"{name} is paused" for name in data["paused"]]
    lines += [f"volume {name} is not there" for name in data["volumes_missing"]]
    lines += [f"network {name} is not there" for name in data["networks_missing"]]
    return [printable(line) for line in lines]


def _odd(data: dict[str, Any]) -> list[str]:
    lines = [f"{one['container']} is {one['state']}, and no service declares it" for one in data["orphans"]]
    for one in data["images_outdated"]:
        by = "another image has its name now" if one["local"] else "no image has its name any more"
        lines.append(f"{one['container']} runs an older {one['image']}: {by}")
    lines += [one["detail"] for one in data["stale_upstreams"]]
    for one in data["renamed"]:
        count = len(one["containers"])
        lines.append(f"{count} container{'s' * (count > 1)} of this directory belong to the project {one['project']}")
    lines += [reason for reason in data["reasons"] if reason.startswith("the compose files name the project")]
    return [printable(line) for line in lines]


def _drift(drift: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2))
    for column in ("container", "field", "declared", "runs with"):
        table.add_column(column, overflow="fold")
    before = ""
    for one in drift:
        name = one["container"] or one["service"]
        table.add_row(
            Text(printable(name if name != before else "")),
            printable(one["field"]),
            Text(_value(one["declared"]), "green"),
            Text(_value(one["actual"]), "red"),
        )
        before = name
    return table


def _value(value: str | None) -> str:
    if value is None:
        return "-"
    text = printable(value)
    return text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + " ..."
