"""Task types whose data is drawn by a module of its own; the others are drawn field by field."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Task type -> module in this package with ``draw(data)``, which gives None where it has no better form.
DRAWINGS = {
    "SERVICE_DISCOVER": "draw_services",
    "LOG_TAIL": "draw_logs",
    "STACK_HEALTH": "draw_stack_health",
    "HEALTHCHECK": "draw_health",
    "DOCKER_RELOAD": "draw_reload",
}


def drawn(task_type: str, data: dict[str, Any]) -> RenderableType | None:
    """The drawing of an outcome's data; None when there is none of its own."""
    module = DRAWINGS.get(task_type)
    if module is None or not data:
        return None
    found: RenderableType | None = import_module(f"letsbe.cli.{module}").draw(data)
    return found
