"""DOCKER_RELOAD for a person: what failed and the end of its log, then what became of each service."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from letsbe.cli.draw import printable

#: Untouched ones come last.
_COLOURS = {"removed": "yellow", "created": "green", "recreated": "green", "restarted": "green", "none": "dim"}
_SHORT = 19


def draw(data: dict[str, Any]) -> RenderableType:
    """The stack, failures first."""
    failed = data.get("failed") or []
    parts: list[RenderableType] = [
        Text.assemble((printable(data["stack"]), "bold"), (f"  {printable(data['dir'])}", "dim"))
    ]
    if data.get("rolled_back"):
        parts.append(Text("  rolled back: the services run as before", "bold yellow"))
    parts += [Text(f"  put back: {printable(path)}", "yellow") for path in data.get("files_restored") or []]
    parts.append(_services(data["services"], {one["service"] for one in failed}))
    parts += [_image(one) for one in data.get("images_pulled") or []]
    for one in failed:
        name = one["container"] or one["service"]
        parts.append(Text.assemble((f"  {printable(name)} ", "bold red"), (printable(one["reason"]), "red")))
        parts += [Text.assemble(("  | ", "red"), printable(line)) for line in one["log"]]
    return Group(*parts)


def _services(services: list[dict[str, Any]], failed: set[str]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2))
    told_why = any(one.get("reason") for one in services)
    for column in ("service", "", "state", "image", *(["why"] if told_why else [])):
        table.add_column(column, overflow="fold")
    numbered = {one["name"] for one in services if one["number"] > 1}
    for one in sorted(services, key=lambda one: (one["name"] not in failed, one["action"] == "none", one["name"])):
        style = "red" if one["name"] in failed else _COLOURS[one["action"]]
        name = f"{one['name']} {one['number']}" if one["name"] in numbered else one["name"]
        action = "untouched" if one["action"] == "none" else one["action"]
        state = " ".join(filter(None, [one["state"], f"({one['health']})" if one["health"] else ""]))
        image = (one["after"] or one["before"] or {}).get("image", "")
        why = [printable(one["reason"])] if told_why else []
        table.add_row(printable(name), Text(action, style), state or "gone", printable(image), *why)
    return table


def _image(one: dict[str, Any]) -> Text:
    before = one["before"][:_SHORT] if one["before"] else "not here"
    return Text.assemble(f"  {printable(one['image'])}  ", (f"{before} -> {one['after'][:_SHORT]}", "dim"))
