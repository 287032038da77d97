"""Log lines for a person: each container in its own colour, as docker compose does it."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from letsbe.cli.draw import printable

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


class LinePainter:
    """Gives each container a colour, in the order in which they turn up."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {}
        self._width = 0

    def paint(self, line: dict[str, Any]) -> Text:
        """Name, bar, text; standard error in red where the name's colour leaves room for it."""
        name = line["container"]
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        self._width = max(self._width, len(name))
        style = "red" if line["stream"] == "stderr" else ""
        text = Text.assemble((f"{printable(name):{self._width}} | ", colour), (printable(line["text"]), style))
        if line.get("partial"):
            text.append(" ...", "dim")
        return text


def draw(data: dict[str, Any]) -> RenderableType:
    """The lines, and what could not be read."""
    painter = LinePainter()
    for line in data.get("lines") or []:
        painter.paint(line)  # now it knows the widest name
    parts: list[RenderableType] = [painter.paint(line) for line in data.get("lines") or []]
    parts += [
        Text.assemble((f"  {printable(one['container'])}: ", "bold red"), printable(one["message"]))
        for one in data.get("errors") or []
    ]
    if data.get("truncated"):
        parts.append(Text("  there are more lines; a longer tail shows them, --since and --grep pick", "dim"))
    return Group(*parts) if parts else Text("  no lines", "dim")
