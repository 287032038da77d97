"""``enrol``, ``agents`` and ``changes``."""

from __future__ import annotations

import time

import click
from msgspec import to_builtins

from letsbe.orchestrator.cli_options import Label, home_option, output_option
from letsbe.orchestrator.output import draw_table, is_text, write_json


@click.command()
@home_option
@click.option("--expires", default="1h", show_default=True, metavar="SPAN", help="How long the token is good: 1h, 7d.")
@click.option("--label", "labels", type=Label(), multiple=True, metavar="K=V", help="Label for the agent.")
@output_option
def enrol(home: str, expires: str, labels: tuple[tuple[str, str], ...], output: str) -> None:
    """Print a token that admits one agent, once.

    Only its hash is kept. Put it into the agent's enrolment token file.
    """
    from letsbe.orchestrator.auth import new_enrolment
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.times import parse_span
    from letsbe.protocol import instant

    lifetime_s = parse_span(expires)
    now = time.time()
    with open_home(home).store().write() as connection:
        token = new_enrolment(connection, dict(labels), now, lifetime_s)
    if output == "json":
        write_json({"token": token, "expires_at": instant(now + lifetime_s), "labels": dict(labels)})
    else:
        click.echo(token)


@click.command()
@click.option("--not-seen", metavar="SPAN", help="Only those that have not polled for so long: 10m, 2d.")
@click.option("--label", "labels", type=Label(), multiple=True, metavar="K=V", help="Only those with this label.")
@home_option
@output_option
def agents(not_seen: str | None, labels: tuple[tuple[str, str], ...], home: str, output: str) -> None:
    """List the agents."""
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.times import ago, parse_span
    from letsbe.orchestrator.views import list_agents
    from letsbe.protocol import epoch

    now = time.time()
    since = None if not_seen is None else now - parse_span(not_seen)
    with open_home(home).store().read() as connection:
        found = list_agents(connection, labels=dict(labels), not_seen_since=since)
    if not is_text(output):
        return write_json(found)
    return draw_table(
        ("agent", "host", "version", "seen", "labels", "outbox", "hold", "journal"),
        (
            (
                agent.agent_id,
                agent.hostname,
                agent.version,
                f"{ago(now - epoch(agent.last_seen_at))} ago" if agent.last_seen_at else "never",
                " ".join(f"{key}={value}" for key, value in agent.labels.items()),
                agent.outbox_depth or "",
                f"{agent.hold['reason']}, until {agent.hold['until']}" if agent.hold else "",
                f"rewritten, seen {agent.journal_rewritten_at}" if agent.journal_rewritten_at else "",
            )
            for agent in found
        ),
        empty="No such agents." if labels or not_seen else "No agents yet: `letsbe-orchestrator enrol` makes a token.",
    )


@click.command()
@click.option("--agent", metavar="ID|HOSTNAME", help="Only this agent's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@home_option
@output_option
def changes(agent: str | None, limit: int, home: str, output: str) -> None:
    """List what was run on hosts by hand or over SSH, the newest first."""
    from letsbe.orchestrator import host_runs
    from letsbe.orchestrator.agents import resolve
    from letsbe.orchestrator.home import open_home

    with open_home(home).store().read() as connection:
        agent_id = None if agent is None else resolve(connection, agent)
        found = host_runs.latest(connection, agent_id, limit)
    if not is_text(output):
        return write_json([{"hostname": hostname, **to_builtins(run)} for hostname, run in found])
    return draw_table(
        ("when", "host", "type", "outcome", "changed", "who", "paths"),
        (
            (
                run.finished_at,
                hostname,
                run.type,
                run.status,
                "yes" if run.changed else "no",
                f"{run.origin} {run.who}",
                " ".join([*run.paths, *([f"and {run.more_paths} more"] if run.more_paths else [])]),
            )
            for hostname, run in found
        ),
        empty="Nothing was run by hand or over SSH, as far as the agents told.",
    )
