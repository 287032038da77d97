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
@click.option("--watch", is_flag=True, help="Go on showing them as they change, until Ctrl-C.")
@click.option("--until-ended", is_flag=True, help="With --watch: end when all that are shown have ended.")
@home_option
@output_option
def tasks(
    agent: str | None, state: str | None, limit: int, watch: bool, until_ended: bool, home: str, output: str
) -> None:
    """List tasks, the newest first.

    With --watch the list is drawn anew on a terminal; piped, each task is printed as it is now, and again on one line
    (of JSON, unless --output text) whenever it changes.
    """
    from letsbe.orchestrator import agents, views, watching
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.sweeping import sweep

    if until_ended and not watch:
        raise click.UsageError("--until-ended goes with --watch")
    store = open_home(home).store()
    with store.read() as connection:
        agent_id = None if agent is None else agents.resolve(connection, agent)

    def fetch() -> list[views.TaskView]:
        sweep(store)
        with store.read() as connection:
            return views.list_tasks(connection, agent_id=agent_id, state=state, most=limit)

    if watch:
        return watching.watch(fetch, output, until_ended=until_ended)
    found = fetch()
    if not is_text(output):
        return write_json(found)
    return draw_table(watching.COLUMNS, map(watching.cells, found), empty="No tasks.")


@click.command()
@click.argument("task")
@click.option("--payload", is_flag=True, help="The payload too; it may hold secrets.")
@home_option
@output_option
def show(task: str, payload: bool, home: str, output: str) -> None:
    """Show a task and its outcome."""
    from letsbe.orchestrator import views
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.sweeping import sweep

    store = open_home(home).store()
    sweep(store, task_ids=[task])
    with store.read() as connection:
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
    """Cancel a task; one that an agent holds is stopped at its next poll.

    One that has lapsed ends without its agent as soon as it can't be running any more.
    """
    from letsbe.orchestrator import tasks as machine
    from letsbe.orchestrator import views
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.sweeping import sweep
    from letsbe.protocol import epoch, instant

    store = open_home(home).store()
    sweep(store, task_ids=[task])
    with store.write() as connection:
        state = machine.cancel(connection, task, time.time())
        found = views.show_task(connection, task)
    if not is_text(output):
        return write_json({"task_id": task, "state": state})
    if state == machine.State.CANCELLED:
        return click.echo("cancelled")
    click.echo(f"the task is {state}: its agent is told at its next poll, and its outcome tells the end")
    if state == machine.State.LAPSED:
        click.echo(f"without one it ends at {instant(epoch(found.expires_at) + found.timeout_s)}")
    return None
