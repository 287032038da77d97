"""``sign`` and ``submit``: a task from what a person asks for to the queue, in one step or in two."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from letsbe.errors import LetsbeError, fate
from letsbe.orchestrator.cli_options import home_option, output_option
from letsbe.orchestrator.output import draw_outcome, is_text, write_json
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from letsbe.orchestrator.submission import Order

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
@_order_options
@click.option(
    "--envelope", metavar="FILE|-", help="Queue what `sign` has printed, in place of TYPE, PAYLOAD and --agent."
)
@click.option(
    "--public-key",
    metavar="BASE64",
    help="With --envelope: whose signature it must have. [default: a key in `keys list`]",
)
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the outcome and print it.")
@home_option
@output_option
def submit(
    task_type: str | None,
    payload: str | None,
    agent: str | None,
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
    """
    from letsbe.orchestrator import submission
    from letsbe.orchestrator.home import open_home

    if envelope is None and (task_type is None or payload is None or agent is None):
        raise click.UsageError("give TYPE, PAYLOAD and --agent, or --envelope")
    if envelope is not None and (task_type is not None or agent is not None):
        raise click.UsageError("an envelope says itself what is to be done, and by whom")
    order = _order(task_type or "", payload or "", agent or "", **told) if envelope is None else None
    opened = open_home(home)
    store = opened.store()
    if order is not None:
        submitted = submission.submit(opened, store, order)
    else:
        submitted = submission.submit_signed(opened, store, submission.read_envelope(envelope or ""), public_key)
    task = submitted.task
    if not submitted.known:
        click.echo(f"warning: the agent did not name {task.type} when it registered", err=True)
    if wait is not None:
        return _emit(submission.await_outcome(store, task.task_id, wait), output)
    if output == "json":
        write_json({"task_id": task.task_id, "agent_id": task.agent_id})
    else:
        click.echo(task.task_id)
    return 0


def _order(
    task_type: str,
    payload: str,
    agent: str,
    *,
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
        expires_at=parse_moment(expires, now),
        not_before=None if not_before is None else parse_moment(not_before, now),
        timeout_s=timeout_s,
        check=check,
        requested_by=_user() if requested_by is None else requested_by,
    )


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
