"""``tasks``, ``show`` and ``cancel``."""

from __future__ import annotations

import time

import click

from letsbe.orchestrator.cli_options import home_option, output_option
from letsbe.orchestrator.output import draw_fields, draw_outcome, draw_table, is_text, write_json

_STATES = ("waiting", "offered", "claimed", "lapsed", "finished", "cancelled", "expired")


@click.command()
@click.option("--agent", metavar="ID|HOSTNAME", help="Only this agent's.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@home_option
@output_option
def tasks(agent: str | None, state: str | None, limit: int, home: str, output: str) -> None:
    """List tasks, the newest first."""
    from letsbe.orchestrator import agents, views
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.tasks import sweep

    with open_home(home).store().write() as connection:
        sweep(connection, time.time())
        agent_id = None if agent is None else agents.resolve(connection, agent)
        found = views.list_tasks(connection, agent_id=agent_id, state=state, most=limit)
    if not is_text(output):
        return write_json(found)
    return draw_table(
        ("task", "type", "host", "state", "outcome", "created", "by"),
        (
            (
                task.task_id,
                f"{task.type} (check)" if task.check else task.type,
                task.hostname,
                f"{task.state}, to cancel" if task.cancel_requested_at and not task.finished_at else task.state,
                task.status,
                task.created_at,
                task.requested_by,
            )
            for task in found
        ),
        empty="No tasks.",
    )


@click.command()
@click.argument("task")
@click.option("--payload", is_flag=True, help="The payload too; it may hold secrets.")
@home_option
@output_option
def show(task: str, payload: bool, home: str, output: str) -> None:
    """Show a task and its outcome."""
    from letsbe.orchestrator import views
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.tasks import sweep

    with open_home(home).store().write() as connection:
        sweep(connection, time.time())
        detail = views.show_task(connection, task, with_payload=payload)
        outcome = views.outcome_of(connection, task)
    if not is_text(output):
        return write_json(detail)
    fields = {name: getattr(detail, name) for name in detail.__struct_fields__ if name != "outcome"}
    draw_fields(fields)
    return None if outcome is None else draw_outcome(outcome)


@click.command()
@click.argument("task")
@home_option
@output_option
def cancel(task: str, home: str, output: str) -> None:
    """Cancel a task; one that an agent holds is stopped at its next poll."""
    from letsbe.orchestrator import tasks as machine
    from letsbe.orchestrator.home import open_home

    now = time.time()
    store = open_home(home).store()
    with store.write() as connection:
        machine.sweep(connection, now)
        state = machine.cancel(connection, task, now)
    if not is_text(output):
        return write_json({"task_id": task, "state": state})
    if state == machine.State.CANCELLED:
        return click.echo("cancelled")
    return click.echo(f"the task is {state}: its agent is told at its next poll, and its outcome tells the end")
