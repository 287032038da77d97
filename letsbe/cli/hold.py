"""``letsbe hold`` and ``letsbe release``"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from letsbe.cli.options import shared

if TYPE_CHECKING:
    from letsbe.agent.caller import Caller
    from letsbe.agent.config import Origin
    from letsbe.agent.journal import Journal
    from letsbe.protocol import Outcome


@shared(
    click.Option(
        ["--allow"], multiple=True, metavar="TYPE,...", help="Task types that go on; COMPOSITE needs its steps' too."
    ),
)
@click.command()
@click.argument("duration")
@click.argument("reason")
def hold(duration: str, reason: str, allow: tuple[str, ...], output: str, config: str | None, verbose: int) -> int:
    """Begin no task of the orchestrator for DURATION (30m, 2h, 3d; at most 30 days), because of REASON.

    Polls go on: they tell the orchestrator that this host is held and why, and deliver outcomes. What runs is not
    stopped, and tasks wait for the end of the hold (or expire). Runs by hand are not held. Another hold takes the
    place of the first; `letsbe release` ends it early.
    """
    from letsbe.agent import holding
    from letsbe.tools.durations import parse_duration

    seconds = parse_duration(duration, holding.MAX_HOLD_S)
    types = dict.fromkeys(name.strip().upper().replace("-", "_") for given in allow for name in given.split(","))
    return _record(
        lambda journal, origin, caller: holding.begin(
            journal, seconds=seconds, reason=reason, allow=list(types), origin=origin, caller=caller
        ),
        output,
        config,
        verbose,
    )


@shared()
@click.command()
def release(output: str, config: str | None, verbose: int) -> int:
    """End a hold before its time."""
    from letsbe.agent import holding

    return _record(
        lambda journal, origin, caller: holding.end(journal, origin=origin, caller=caller), output, config, verbose
    )


def _record(act: Callable[[Journal, Origin, Caller], Outcome], output: str, config: str | None, verbose: int) -> int:
    from letsbe.agent.caller import this_caller, this_origin
    from letsbe.agent.journal import Journal
    from letsbe.cli.output import emit_outcome
    from letsbe.cli.start import start

    settings = start(config, verbose)
    journal = Journal(settings.state_dir)
    try:
        outcome = act(journal, this_origin(), this_caller())
    finally:
        journal.close()
    return emit_outcome(outcome, output)
