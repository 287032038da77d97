"""SERVICE_DISCOVER for a person: what is wrong first in each stack, ages in words."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from letsbe.cli.ages import age
from letsbe.cli.draw import printable

_WELL = 0
_WRONG = 2


def draw(data: dict[str, Any]) -> RenderableType:
    """A table for each stack, then the rest."""
    parts: list[RenderableType] = []
    for stack in data.get("stacks") or []:
        parts.append(Text.assemble((printable(stack["name"]), "bold"), (f"  {printable(stack['dir'])}", "dim")))
        parts.append(_containers(stack["services"]))
    if data.get("unmanaged"):
        parts += [Text("in no stack", "bold"), _containers(data["unmanaged"])]
    if data.get("declared_not_running"):
        parts.append(Text("declared, nothing of it runs", "bold yellow"))
        for one in data["declared_not_running"]:
            where = printable(f"  {one['dir']}  {', '.join(one['services'])}")
            parts.append(Text.assemble(f"  {printable(one['name'])}", (where, "dim")))
    if data.get("listeners"):
        parts += [Text("listening", "bold"), _listeners(data["listeners"])]
    failed = [unit for unit in data.get("systemd") or [] if unit["active"] == "failed"]
    if data.get("systemd"):
        parts.append(Text(f"systemd: {len(data['systemd']) - len(failed)} services run", "bold"))
        parts += [Text(f"  {printable(unit['unit'])} has failed", "red") for unit in failed]
    if not parts:
        parts.append(Text("  nothing found", "dim"))
    return Group(*parts)


def _containers(containers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2))
    for column in ("service", "state", "image", "ports", "since"):
        table.add_column(column, overflow="fold")
    for one in sorted(containers, key=lambda one: (-_badness(one), one["service"] or "", one["container"])):
        style = ("", "yellow", "red")[_badness(one)]
        name = one["service"] or one["container"]
        ports = printable("\n".join(one.get("ports") or []))
        state = Text(_state(one), style)
        table.add_row(printable(name), state, printable(one["image"]), ports, _age(one.get("started_at")))
    return table


def _badness(one: dict[str, Any]) -> int:
    state, health = one["state"], one.get("health")
    if state in ("restarting", "dead") or health == "unhealthy" or one.get("oom_killed"):
        return _WRONG
    if state == "exited":
        return _WRONG if one.get("exit_code") else _WELL
    return 1 if state in ("paused", "created") or health == "starting" or one.get("restarts") else _WELL


def _state(one: dict[str, Any]) -> str:
    words = [one["state"]]
    if one.get("exit_code") is not None:
        words.append(f"with {one['exit_code']}")
    if one.get("health"):
        words.append(f"({one['health']})")
    if one.get("oom_killed"):
        words.append("out of memory")
    if one.get("restarts"):
        words.append(f"restarted {one['restarts']} times")
    return " ".join(words)


def _age(started: str | None) -> str:
    return age(started) if started else "never started"


def _listeners(listeners: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2))
    for column in ("port", "address", "process", "container"):
        table.add_column(column, overflow="fold")
    for one in listeners:
        process = f"{one['process']} ({one['pid']})" if one.get("pid") else "?"
        container = (one.get("container") or "") + (" inside only" if one.get("inside") else "")
        table.add_row(f"{one['port']}/{one['proto']}", one["addr"], printable(process), printable(container))
    return table
