"""``sign`` and ``submit``: a task from what a person asks for to the queue, in one step or in two."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from letsbe.errors import EXIT_FAILED, EXIT_OK, EXIT_TIMED_OUT, LetsbeError, fate
from letsbe.orchestrator.cli_options import Label, home_option, output_option
from letsbe.orchestrator.output import draw_outcome, draw_table, is_text, write_json
from letsbe.protocol import Outcome
from letsbe.seconds import Seconds

if TYPE_CHECKING:
    from letsbe.orchestrator.store import Store
    from letsbe.orchestrator.submission import Order, Submitted

_LONGEST_S = 86_400

F = TypeVar("F", bound=Callable[..., Any])


def _order_options(command: F) -> F:
    """What describes a task, wherever it is signed."""
    for option in reversed(
        (
            click.option("--check", is_flag=True, help="Have the agent say what would change, and change nothing."),
            click.option(
                "--timeout", default="10m", show_default=True, metavar="SPAN", help="The agent ends it after so long."
            ),
            click.option(
                "--expires",
                default="24h",
                show_default=True,
                metavar="WHEN",
                help="Not begun after this: span, instant.",
            ),
            click.option("--not-before", metavar="WHEN", help="Not begun before this: span from now, or instant."),
            click.option("--requested-by", metavar="NAME", help="Who asks, for the journal. [default: the user]"),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("task_type", metavar="TYPE")
@click.argument("payload", metavar="PAYLOAD|@FILE|-")
@click.option("--agent-id", required=True, metavar="ID", help="The agent that is to do it; its id, not its host name.")
@click.option("--key", "key_file", required=True, metavar="FILE", help="The private key: Ed25519, PEM, mode 0600.")
@click.option(
    "--schema-version", type=click.IntRange(1), default=1, show_default=True, help="Version of the payload's schema."
)
@_order_options
def sign(task_type: str, payload: str, agent_id: str, key_file: str, schema_version: int, **told: Any) -> None:
    """Sign a task, and print its envelope for `submit --envelope`.

    Needs the key alone: no home, no database, no network. So the key can stay on a machine that has none.
    """
    from letsbe.orchestrator import signing, submission

    order = _order(task_type, payload, agent_id, **told)
    write_json(submission.signed(order, agent_id, schema_version, [signing.load_key(key_file)])[1])


@click.command()
@click.argument("task_type", metavar="TYPE", required=False)
@click.argument("payload", metavar="PAYLOAD|@FILE|-", required=False)
@click.option("--agent", metavar="ID|HOSTNAME", help="The agent that is to do it.")
@click.option("--label", "labels", type=Label(), multiple=True, metavar="K=V", help="All agents with all these labels.")
@click.option("--all", "everywhere", is_flag=True, help="All agents.")
@_order_options
@click.option(
    "--envelope", metavar="FILE|-", help="Queue what `sign` has printed, in place of TYPE, PAYLOAD and agents."
)
@click.option(
    "--public-key",
    metavar="BASE64",
    help="With --envelope: whose signature it must have. [default: a key in `keys list`]",
)
@click.option("--wait", type=Seconds(min=0), metavar="SECONDS", help="Wait for the end and print it.")
@home_option
@output_option
def submit(
    task_type: str | None,
    payload: str | None,
    agent: str | None,
    labels: tuple[tuple[str, str], ...],
    everywhere: bool,
    envelope: str | None,
    public_key: str | None,
    wait: float | None,
    home: str,
    output: str,
    **told: Any,
) -> int:
    """Sign a task, queue it for an agent, and print its id.

    With --envelope it is signed already: no key is needed here, and nothing is queued that no trusted key has signed.
    With --wait the outcome is printed instead, and the exit code is the outcome's: 0 success, 1 failed, 4 refused, 124
    timed out (the waiting included), and so on.

    With --label or --all each agent gets a task of its own: all of them are queued or none, and their ids are printed.
    --wait then prints how each came out, and exits with 0 when all succeeded, 124 when some have not ended in time, and
    1 otherwise. `agents --label` lists beforehand who is meant.
    """
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.home import open_home

    targets = [agent is not None, bool(labels), everywhere].count(True)
    if envelope is None and (task_type is None or payload is None or targets != 1):
        raise click.UsageError("give TYPE, PAYLOAD and one of --agent, --label and --all; or --envelope")
    if envelope is not None and (task_type is not None or targets):
        raise click.UsageError("an envelope says itself what is to be done, and by whom")
    order = None
    if envelope is None:
        order = _order(task_type or "", payload or "", agent, labels=dict(labels), **told)
    opened = open_home(home)
    store = opened.store()
    if order is not None:
        submitted = submission.submit_all(opened, store, order)
    else:
        submitted = [submission.submit_signed(opened, store, submission.read_envelope(envelope or ""), public_key)]
    _warn_of_unknown(submitted)
    if order is not None and order.agent is None:
        return _emit_all(store, submitted, wait, output)
    return _emit_one(store, submitted[0], wait, output)


def _order(
    task_type: str,
    payload: str,
    agent: str | None,
    *,
    labels: dict[str, str] | None = None,
    check: bool,
    timeout: str,
    expires: str,
    not_before: str | None,
    requested_by: str | None,
) -> Order:
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.times import parse_moment, parse_span

    now = time.time()
    timeout_s = parse_span(timeout)
    if timeout_s > _LONGEST_S:
        raise LetsbeError("usage", f"--timeout {timeout} is more than a day", hint="Give at most 1d.")
    return submission.Order(
        type=task_type.upper().replace("-", "_"),
        payload=submission.read_payload(payload),
        agent=agent,
        labels=labels or {},
        expires_at=parse_moment(expires, now),
        not_before=None if not_before is None else parse_moment(not_before, now),
        timeout_s=timeout_s,
        check=check,
        requested_by=_user() if requested_by is None else requested_by,
    )


def _warn_of_unknown(submitted: list[Submitted]) -> None:
    unknown = [each.task.agent_id for each in submitted if not each.known]
    if not unknown:
        return
    who = "the agent" if len(submitted) == 1 else f"{len(unknown)} of {len(submitted)} agents"
    click.echo(f"warning: {who} did not name {submitted[0].task.type} when registering", err=True)


def _emit_all(store: Store, submitted: list[Submitted], wait: float | None, output: str) -> int:
    from letsbe.orchestrator import views, waiting

    ids = [each.task.task_id for each in submitted]
    if wait is None:
        if output == "json":
            write_json([{"task_id": each.task.task_id, "agent_id": each.task.agent_id} for each in submitted])
        else:
            click.echo("\n".join(ids))
        return EXIT_OK
    all_ended = waiting.await_all(store, ids, wait)
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


def _emit_one(store: Store, submitted: Submitted, wait: float | None, output: str) -> int:
    from letsbe.orchestrator import waiting

    task = submitted.task
    if wait is not None:
        return _emit(waiting.await_outcome(store, task.task_id, wait), output)
    if output == "json":
        write_json({"task_id": task.task_id, "agent_id": task.agent_id})
    else:
        click.echo(task.task_id)
    return EXIT_OK


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
