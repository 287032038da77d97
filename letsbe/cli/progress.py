"""Progress of long work, for a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from letsbe.agent.runner import Runner


@contextmanager
def shown_progress(runner: Runner) -> Iterator[None]:
    """Show what the runner tells as a status line on standard error while it works."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    from letsbe.cli.draw import printable

    with Console(stderr=True, highlight=False).status("working") as line:

        def show(step: str, percent: int | None, message: str) -> None:
            done = f" {percent} %" if percent is not None else ""
            line.update(Text(printable(f"{step}{done} {message}".strip()) or "working"))

        runner.on_progress = show
        yield
