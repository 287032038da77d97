"""``letsbe history``"""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from letsbe.agent.caller import Caller
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import ChangeRow, Run
from letsbe.cli.options import shared
from letsbe.decoding import convert
from letsbe.errors import LetsbeError


@shared(
    click.Option(
        ["-n", "--limit"], type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many runs to list."
    ),
    click.Option(["--verify"], is_flag=True, help="Check that nobody changed the journal; exit code 1 if so."),
    click.Option(["--export"], is_flag=True, help="Print all runs, oldest first, one JSON document a line."),
)
@click.command()
@click.argument("run_id", metavar="[ID]", required=False)
def history(
    run_id: str | None, limit: int, verify: bool, export: bool, output: str, config: str | None, verbose: int
) -> int:
    """Show what was run, newest first, or one run by its ID (or the beginning of it)."""
    from letsbe.agent.recovery import recover
    from letsbe.cli.start import start

    if verify + export + (run_id is not None) > 1:
        raise click.UsageError("give one of ID, --verify and --export")
    settings = start(config, verbose)
    journal = Journal(settings.state_dir)
    try:
        if verify:
            return _verify(journal, output)
        if export:
            return _export(journal)
        recover(settings, journal)
        return _show(journal, run_id, limit, output)
    finally:
        journal.close()


def _verify(journal: Journal, output: str) -> int:
    from letsbe.cli.output import is_text, write_json

    found = journal.verify()
    if not is_text(output):
        write_json(found)
    elif found.whole:
        click.echo(f"The journal is whole: {found.rows} audit rows, the newest {found.head.seq} {found.head.hash}")
    else:
        where = [f"audit row {found.bad_row}"] if found.bad_row is not None else []
        where += [f"run {found.bad_run}"] if found.bad_run is not None else []
        click.echo(f"The journal was tampered with: {', '.join(where)}: {found.reason}")
    return 0 if found.whole else 1


def _export(journal: Journal) -> int:
    for run, changes in journal.export():
        document = {**as_json(run), "changes": [_change(change) for change in changes]}
        click.echo(msgspec.json.encode(document))
    return 0


def _show(journal: Journal, run_id: str | None, limit: int, output: str) -> int:
    from letsbe.cli.output import is_text, write_json

    if run_id is not None:
        run = find_run(journal, run_id)
        document: Any = {**as_json(run), "changes": [_change(change) for change in journal.changes(run.id)]}
    else:
        document = [as_json(run) for run in journal.latest(limit)]
    if not is_text(output):
        write_json(document)
    elif run_id is not None:
        _draw_one(document)
    else:
        _draw_list(document)
    return 0


def find_run(journal: Journal, run_id: str) -> Run:
    """The run of an id or of an unambiguous beginning of one; ``unknown_run`` otherwise."""
    found = journal.matching(run_id)
    if len(found) == 1:
        return found[0]
    reason = f"more than one run begins with {run_id}" if found else f"no run {run_id} in the journal"
    raise LetsbeError("unknown_run", reason, hint="`letsbe history` lists the runs; they are kept for 90 days.")


def as_json(run: Run) -> dict[str, Any]:
    """A run as JSON values: its payload and outcome as objects, times in seconds since the epoch."""
    values = msgspec.structs.asdict(run)
    for name in ("payload", "caller", "outcome"):
        values[name] = msgspec.json.decode(values[name]) if values[name] else None
    return values


def _change(change: ChangeRow) -> dict[str, Any]:
    return {
        "path": change.path,
        "step": change.step,
        "before_sha256": change.before_sha256,
        "after_sha256": change.after_sha256,
        "done": bool(change.done),
        "undone": bool(change.undone),
    }


def _draw_list(runs: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from letsbe.cli.draw import printable
    from letsbe.cli.output import console

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("when", "type", "status", "changed", "id", "who"):
        table.add_column(column, no_wrap=column != "who")
    shown = _beginning([run["id"] for run in runs])
    for run in runs:
        outcome = run["outcome"] or {}
        status = outcome.get("status", run["state"])
        colour = {"succeeded": "green", "started": "cyan", "received": "cyan"}.get(status, "red")
        changed = "yes" if outcome.get("changed") else "no"
        cells = (_when(run)[:-3], run["type"], Text(status, colour), changed, run["id"][:shown], _who(run))
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells))
    console().print(table if runs else "Nothing was run yet.")


def _beginning(ids: list[str]) -> int:
    """How many characters tell the ids apart: `history` and `undo` take a beginning, and a narrow screen shows it."""
    return next((size for size in range(13, 36) if len({one[:size] for one in ids}) == len(ids)), 36)


def _draw_one(run: dict[str, Any]) -> None:
    from rich.text import Text

    from letsbe.cli.draw import draw_outcome, draw_value, printable
    from letsbe.cli.output import console
    from letsbe.protocol import Outcome

    screen = console()
    if run["outcome"] is not None:
        draw_outcome(screen, convert(run["outcome"], Outcome))
    facts = {
        "state": run["state"],
        "when": _when(run),
        "who": _who(run),
        "step": run["step"],
        "payload": run["payload"],
    }
    screen.print(draw_value({key: value for key, value in facts.items() if value}))
    for change in run["changes"]:
        what = "undone" if change["undone"] else "changed" if change["done"] else "about to change"
        digests = f"{_short(change['before_sha256'])} -> {_short(change['after_sha256'])}"
        screen.print(Text(printable(f"  {what} {change['path']} ({digests})")))


def _short(digest: str | None) -> str:
    return "no file" if digest is None else digest[:12]


def _when(run: dict[str, Any]) -> str:
    seconds = run["started_at"] or run["received_at"] or run["finished_at"] or 0
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _who(run: dict[str, Any]) -> str:
    return f"{run['origin']} {convert(run['caller'] or {'uid': 0}, Caller).name}"
