"""``submit``, ``tasks``, ``show`` and ``cancel``."""

from __future__ import annotations

import os
import pwd
import time
from typing import TYPE_CHECKING

import click

from letsbe.errors import LetsbeError, fate
from letsbe.orchestrator.cli_options import home_option, output_option
from letsbe.orchestrator.output import draw_fields, draw_outcome, draw_table, is_text, write_json
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from letsbe.orchestrator.submission import Order

_STATES = ("waiting", "offered", "claimed", "lapsed", "finished", "cancelled", "expired")


@click.command()
@click.argument("task_type", metavar="TYPE")
@click.argument("payload", metavar="PAYLOAD|@FILE|-")
@click.option("--agent", required=True, metavar="ID|HOSTNAME", help="The agent that is to do it.")
@click.option("--check", is_flag=True, help="Have the agent say what would change, and change nothing.")
@click.option("--timeout", default="10m", show_default=True, metavar="SPAN", help="The agent ends it after so long.")
@click.option(
    "--expires", default="24h", show_default=True, metavar="WHEN", help="Not begun after this: span, instant."
)
@click.option("--not-before", metavar="WHEN", help="Not begun before this: span from now, or instant.")
@click.option("--requested-by", metavar="NAME", help="Who asks, for the journal. [default: the user]")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the outcome and print it.")
@home_option
@output_option
def submit(
    task_type: str,
    payload: str,
    agent: str,
    check: bool,
    timeout: str,
    expires: str,
    not_before: str | None,
    requested_by: str | None,
    wait: float | None,
    home: str,
    output: str,
) -> int:
    """Sign a task, queue it for an agent, and print its id.

    With --wait the outcome is printed instead, and the exit code is the outcome's: 0 success, 1 failed, 4 refused, 124
    timed out (the waiting included), and so on.
    """
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.times import parse_moment, parse_span

    now = time.time()
    timeout_s = parse_span(timeout)
    if timeout_s > 86_400:
        raise LetsbeError("usage", f"--timeout {timeout} is more than a day", hint="Give at most 1d.")
    order = submission.Order(
        type=task_type.upper().replace("-", "_"),
        payload=submission.read_payload(payload),
        agent=agent,
        expires_at=parse_moment(expires, now),
        not_before=None if not_before is None else parse_moment(not_before, now),
        timeout_s=timeout_s,
        check=check,
        requested_by=_user() if requested_by is None else requested_by,
    )
    return _submit(home, order, wait, output)


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


def _submit(home: str, order: Order, wait: float | None, output: str) -> int:
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.home import open_home

    opened = open_home(home)
    store = opened.store()
    submitted = submission.submit(opened, store, order)
    task_id = submitted.task.task_id
    if not submitted.known:
        click.echo(f"warning: the agent did not name {order.type} when it registered", err=True)
    if wait is not None:
        return _emit(submission.await_outcome(store, task_id, wait), output)
    if output == "json":
        write_json({"task_id": task_id, "agent_id": submitted.task.agent_id})
    else:
        click.echo(task_id)
    return 0


def _emit(outcome: Outcome, output: str) -> int:
    if is_text(output):
        draw_outcome(outcome)
    else:
        write_json(outcome)
    if outcome.error is not None:
        return fate(outcome.error.code).exit_code
    return 0 if outcome.success else 1


def _user() -> str:
    name = os.environ.get("SUDO_USER")
    if name:
        return name[:200]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
