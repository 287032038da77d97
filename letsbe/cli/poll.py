"""``letsbe poll``"""

from __future__ import annotations

import os
import time

import click

from letsbe.cli.options import shared


@shared(
    click.Option(["--splay"], is_flag=True, help="First wait this agent's fixed share of poll.splay_s (cron uses it)."),
    click.Option(["--if-set"], is_flag=True, help="Do nothing while no orchestrator is set (cron uses it)."),
    click.Option(["--now"], is_flag=True, help="Ask even while failures or the orchestrator say to wait."),
)
@click.command()
def poll(splay: bool, if_set: bool, now: bool, output: str, config: str | None, verbose: int) -> int:
    """Ask the orchestrator for work and do it.

    Registers first if this machine is not enrolled yet. Silent when all is well; exits 0 when another poll runs.
    """
    from letsbe.agent.poll import Poll
    from letsbe.cli.output import is_text, write_json
    from letsbe.cli.start import start

    settings = start(config, verbose)
    if if_set and settings.orchestrator.url is None:
        return 0
    if splay:
        time.sleep(_splay(settings.state_dir, settings.poll.splay_s))
    polled = Poll(settings, at_once=now).run()
    if output == "json":
        write_json(polled)
    elif verbose or output == "text" or (is_text(output) and os.isatty(2)):
        click.echo(_sentence(polled))
    return 0


def _splay(state_dir: str, most_s: int) -> float:
    """Seconds to wait, the same every minute on one machine and spread evenly over many."""
    from letsbe.agent import identity

    me = identity.load(state_dir)
    if me is None or most_s == 0:
        return 0.0
    return int(me.agent_id[-8:], 16) / 0x1_0000_0000 * most_s


def _sentence(polled: object) -> str:
    from letsbe.agent.poll import Polled

    assert isinstance(polled, Polled)  # noqa: S101
    held = f"This host is {polled.held}. " if polled.held else ""
    if polled.skipped:
        return f"{held}Skipped: {polled.skipped}."
    return (
        f"{held}{polled.offered} offered, {polled.executed} executed, {polled.delivered} outcomes delivered,"
        f" {polled.waiting} waiting."
    )
