"""``letsbe status``"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from letsbe.cli.options import shared

if TYPE_CHECKING:
    from rich.table import Table

    from letsbe.agent.condition import Condition, Exchange, Holding, Key, Task


@shared()
@click.command()
def status(output: str, config: str | None, verbose: int) -> int:
    """Show the agent's state: identity, last poll, outbox, running and waiting tasks, trusted keys."""
    from letsbe.agent.condition import examine
    from letsbe.cli.output import is_text, write_json
    from letsbe.cli.start import start

    settings = start(config, verbose)
    condition = examine(settings)
    if is_text(output):
        _draw(condition)
    else:
        write_json(condition)
    return 0


def _draw(condition: Condition) -> None:
    from rich.text import Text

    from letsbe.cli.draw import draw_value
    from letsbe.cli.output import console

    screen = console()
    facts: dict[str, Any] = {
        "agent": condition.agent_id or "no identity yet",
        "version": condition.version,
        "orchestrator": _orchestrator(condition),
        "last poll": _exchange(condition.exchange),
        **({"hold": _hold(condition.hold)} if condition.hold else {}),
        **({"clock": _clock(condition)} if condition.exchange.answered_at or condition.clock_skew_s else {}),
        "outbox": f"{condition.outbox} to deliver" if condition.outbox else "empty",
        "trusted keys": "; ".join(map(_key, condition.trusted_keys)) or "none",
        **({"key set": f"version {condition.key_set_version}"} if condition.key_set_version else {}),
    }
    screen.print(draw_value(facts))
    for title, tasks in (("Running", condition.running), ("Waiting", condition.waiting), ("Parked", condition.parked)):
        if tasks:
            screen.print(Text(f"\n{title}", "bold"))
            screen.print(_tasks(tasks))


def _tasks(tasks: list[Task]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from letsbe.cli.draw import printable

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for wraps in (False, False, True):
        table.add_column(no_wrap=not wraps, overflow="fold")
    for task in tasks:
        percent = "" if task.percent is None else f"{task.percent} %"
        pid = "" if task.pid is None else f"pid {task.pid}"
        told = [f"since {task.since}", f"by {task.origin}", pid, task.step, percent, task.message]
        table.add_row(printable(task.id), printable(task.type), Text(printable(", ".join(filter(None, told)))))
    return table


def _key(key: Key) -> str:
    below = "" if key.paths is None else f" below {', '.join(key.paths) or 'nothing'}"
    return f"{key.name} {key.keyid} ({key.source}) for {', '.join(key.executors)}{below}"


def _orchestrator(condition: Condition) -> str:
    if condition.orchestrator is None:
        return "none is set: local use only"
    return f"{condition.orchestrator}, {'enrolled' if condition.enrolled else 'not enrolled yet'}"


def _exchange(exchange: Exchange) -> str:
    answered = f"answered at {exchange.answered_at}" if exchange.answered_at else "never answered"
    if exchange.failures:
        answered += f", then failed {exchange.failures} times: {exchange.reason}"
    if exchange.not_before:
        why = "" if exchange.failures else f" ({exchange.reason})"
        answered += f"; next not before {exchange.not_before}{why}"
    return answered


def _hold(held: Holding) -> str:
    goes_on = f"; allowed: {', '.join(held.allow)}" if held.allow else ""
    return f"{held.reason}, since {held.since} until {held.until}, by {held.by.name}{goes_on}"


def _clock(condition: Condition) -> str:
    skew_s = condition.clock_skew_s
    if skew_s is None:
        return "agrees with the orchestrator's"
    return f"{abs(skew_s)} s {'behind' if skew_s > 0 else 'ahead of'} the orchestrator's"
