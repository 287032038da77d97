"""``letsbe undo``"""

from __future__ import annotations

import click

from letsbe.cli.options import shared


@shared(
    click.Option(["--check"], is_flag=True, help="Show what would be put back; change nothing."),
    click.Option(["--force"], is_flag=True, help="Put back even what was changed by somebody else since."),
)
@click.command()
@click.argument("run_id", metavar="ID")
def undo(run_id: str, check: bool, force: bool, output: str, config: str | None, verbose: int) -> int:
    """Put back the files that the run ID changed, as they were before it.

    What the run did beyond files (commands, containers) does not come back. An undo is a run too, and can be undone.
    """
    from letsbe.agent.caller import this_caller, this_origin
    from letsbe.agent.journal import Journal
    from letsbe.agent.recovery import recover
    from letsbe.agent.undoing import undo_run
    from letsbe.cli.history import find_run
    from letsbe.cli.output import emit_outcome
    from letsbe.cli.start import start

    settings = start(config, verbose)
    journal = Journal(settings.state_dir)
    try:
        recover(settings, journal)
        run = find_run(journal, run_id)
        outcome = undo_run(settings, journal, run, origin=this_origin(), caller=this_caller(), force=force, check=check)
    finally:
        journal.close()
    return emit_outcome(outcome, output)
