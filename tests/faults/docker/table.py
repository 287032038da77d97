"""The table of the fault matrix: what letsbe says and what plain commands say, side by side."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.docker.case import Row

#: A test's property that holds its row: properties come back from the processes that tests run in.
PROPERTY = "fault matrix"
_WIDTH = 160


def print_table(reporter: pytest.TerminalReporter) -> None:
    """Print the rows of the cases that passed, if any ran."""
    properties = [one for report in reporter.getreports("passed") for one in report.user_properties]
    rows = [Row(*row) for name, row in properties if name == PROPERTY]
    if not rows:
        return
    table = Table("case", "letsbe", "a plain command", box=None, pad_edge=False)
    for row in sorted(rows):
        table.add_row(*row)
    console = Console(width=_WIDTH, no_color=True)
    with console.capture() as printed:
        console.print(table, markup=False)
    reporter.section("fault matrix: what befalls stacks, and who says what of it")
    reporter.write_line(printed.get())
