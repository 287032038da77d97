"""The list of tasks, and showing it as it changes: drawn anew on a terminal, one line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import click

from letsbe.orchestrator.output import is_text, plain, table, write_json
from letsbe.orchestrator.tasks import ENDED
from letsbe.orchestrator.views import TaskView

#: How often the database is looked at, in seconds.
EVERY_S = 1.0

COLUMNS = ("task", "type", "host", "state", "outcome", "created", "by")


def cells(task: TaskView) -> tuple[object, ...]:
    """The row of a task below :data:`COLUMNS`."""
    return (
        task.task_id,
        f"{task.type} (check)" if task.check else task.type,
        task.hostname,
        f"{task.state}, to cancel" if task.cancel_requested_at and not task.finished_at else task.state,
        task.status,
        task.created_at,
        task.requested_by,
    )


def watch(fetch: Callable[[], list[TaskView]], output: str, *, until_ended: bool) -> None:
    """Show what ``fetch`` gives until Ctrl-C, which is no error; or, if wanted, until all of it has ended."""
    try:
        if is_text(output) and sys.stdout.isatty():
            _draw(_looks(fetch, until_ended))
        else:
            _print_changes(_looks(fetch, until_ended), as_text=output == "text")
    except KeyboardInterrupt:
        return


def _looks(fetch: Callable[[], list[TaskView]], until_ended: bool) -> Iterator[list[TaskView]]:
    while True:
        found = fetch()
        yield found
        if until_ended and all(task.state in ENDED for task in found):
            return
        time.sleep(EVERY_S)


def _draw(looks: Iterator[list[TaskView]]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False, markup=False), auto_refresh=False) as live:
        for found in looks:
            live.update(table(COLUMNS, map(cells, found), empty="No tasks yet."), refresh=True)


def _print_changes(looks: Iterator[list[TaskView]], *, as_text: bool) -> None:
    known: dict[str, TaskView] = {}
    for found in looks:
        for task in reversed(found):  # the oldest first, as they would have come
            if known.get(task.task_id) == task:
                continue
            if as_text:
                click.echo("  ".join(plain(cell).replace("\n", " ") for cell in cells(task)).rstrip())
            else:
                write_json(task)
        known = {task.task_id: task for task in found}
