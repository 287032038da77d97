"""``submit``."""

from __future__ import annotations

import os
import pwd
import time
from typing import TYPE_CHECKING

import click

from letsbe.errors import EXIT_FAILED, EXIT_OK, EXIT_TIMED_OUT, LetsbeError, fate
from letsbe.orchestrator.cli_options import Label, home_option, output_option
from letsbe.orchestrator.output import draw_outcome, draw_table, is_text, write_json
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from letsbe.orchestrator.home import Home
    from letsbe.orchestrator.store import Store
    from letsbe.orchestrator.submission import Order, Submitted


@click.command()
@click.argument("task_type", metavar="TYPE")
@click.argument("payload", metavar="PAYLOAD|@FILE|-")
@click.option("--agent", metavar="ID|HOSTNAME", help="The agent that is to do it.")
@click.option("--label", "labels", type=Label(), multiple=True, metavar="K=V", help="All agents with all these labels.")
@click.option("--all", "everywhere", is_flag=True, help="All agents.")
@click.option("--check", is_flag=True, help="Have the agent say what would change, and change nothing.")
@click.option("--timeout", default="10m", show_default=True, metavar="SPAN", help="The agent ends it after so long.")
@click.option(
    "--expires", default="24h", show_default=True, metavar="WHEN", help="Not begun after this: span, instant."
)
@click.option("--not-before", metavar="WHEN", help="Not begun before this: span from now, or instant.")
@click.option("--requested-by", metavar="NAME", help="Who asks, for the journal. [default: the user]")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the end and print it.")
@home_option
@output_option
def submit(
    task_type: str,
    payload: str,
    agent: str | None,
    labels: tuple[tuple[str, str], ...],
    everywhere: bool,
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

    With --label or --all each agent gets a task of its own: all of them are queued or none, and their ids are printed.
    --wait then prints how each came out, and exits with 0 when all succeeded, 124 when some have not ended in time, and
    1 otherwise. `agents --label` lists beforehand who is meant.
    """
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.times import parse_moment, parse_span

    if [agent is not None, bool(labels), everywhere].count(True) != 1:
        raise click.UsageError("Say for whom it is: one of --agent, --label and --all.")
    now = time.time()
    timeout_s = parse_span(timeout)
    if timeout_s > 86_400:
        raise LetsbeError("usage", f"--timeout {timeout} is more than a day", hint="Give at most 1d.")
    order = submission.Order(
        type=task_type.upper().replace("-", "_"),
        payload=submission.read_payload(payload),
        agent=agent,
        labels=dict(labels),
        expires_at=parse_moment(expires, now),
        not_before=None if not_before is None else parse_moment(not_before, now),
        timeout_s=timeout_s,
        check=check,
        requested_by=_user() if requested_by is None else requested_by,
    )
    return _submit(open_home(home), order, wait, output)


def _submit(home: Home, order: Order, wait: float | None, output: str) -> int:
    from letsbe.orchestrator import submission

    store = home.store()
    submitted = submission.submit_all(home, store, order)
    _warn_of_unknown(submitted, order.type)
    if order.agent is None:
        return _emit_all(store, submitted, wait, output)
    task = submitted[0].task
    if wait is not None:
        return _emit(submission.await_outcome(store, task.task_id, wait), output)
    if output == "json":
        write_json({"task_id": task.task_id, "agent_id": task.agent_id})
    else:
        click.echo(task.task_id)
    return EXIT_OK


def _warn_of_unknown(submitted: list[Submitted], task_type: str) -> None:
    unknown = [each.task.agent_id for each in submitted if not each.known]
    if not unknown:
        return
    who = "the agent" if len(submitted) == 1 else f"{len(unknown)} of {len(submitted)} agents"
    click.echo(f"warning: {who} did not name {task_type} when registering", err=True)


def _emit_all(store: Store, submitted: list[Submitted], wait: float | None, output: str) -> int:
    from letsbe.orchestrator import submission, views

    ids = [each.task.task_id for each in submitted]
    if wait is None:
        if output == "json":
            write_json([{"task_id": each.task.task_id, "agent_id": each.task.agent_id} for each in submitted])
        else:
            click.echo("\n".join(ids))
        return EXIT_OK
    all_ended = submission.await_all(store, ids, wait)
    with store.read() as connection:
        found = views.show_tasks(connection, ids)
    if is_text(output):
        rows = ((task.hostname, task.task_id, task.state, task.status, views.reason(task)) for task in found)
        draw_table(("host", "task", "state", "outcome", "error"), rows, empty="")
    else:
        write_json(found)
    if not all_ended:
        return EXIT_TIMED_OUT
    return EXIT_OK if all(task.status == "succeeded" for task in found) else EXIT_FAILED


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
