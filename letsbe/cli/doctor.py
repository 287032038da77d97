"""``letsbe doctor``"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from letsbe.cli.options import config_option, output_option
from letsbe.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from letsbe.agent.checkup.finding import Finding

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command()
def doctor(output: str, config: str | None) -> int:
    """Look for what would keep this agent from working.

    Checks configuration, permissions, disk, journal, the way to the orchestrator, clock, schedule, docker, and what
    each task type needs. Changes nothing. Exits with 1 when a check fails; warnings are no failures.
    """
    from letsbe.agent.checkup import examine
    from letsbe.cli.output import is_text, write_json

    findings = examine(config)
    worst = next((status for status in ("fail", "warn") if any(f.status == status for f in findings)), "ok")
    if is_text(output):
        _draw(findings)
    else:
        write_json({"status": worst, "checks": findings})
    return EXIT_FAILED if worst == "fail" else EXIT_OK


def _draw(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from letsbe.cli.draw import printable
    from letsbe.cli.output import console

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, colour = _MARKS[finding.status]
        text = Text(printable(finding.observed))
        if finding.hint:
            text.append(f"\n{printable(finding.hint)}", "dim")
        table.add_row(Text(mark, f"bold {colour}"), finding.check, text)
    screen = console()
    screen.print(table)
    counts = {status: sum(finding.status == status for finding in findings) for status in _MARKS}
    warnings = f"{counts['warn']} warning{'' if counts['warn'] == 1 else 's'}"
    screen.print(f"\n{counts['ok']} ok, {warnings}, {counts['fail']} failed")


doctor.params.extend([output_option(), config_option()])
