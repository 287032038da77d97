"""What comes while a run goes on, printed at once: drawn on a terminal, a JSON document on each line otherwise."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from letsbe.cli.output import console, exit_code, is_text, write_json
from letsbe.errors import EXIT_OK

if TYPE_CHECKING:
    from letsbe.agent.outcomes import Request
    from letsbe.agent.runner import Runner


def run_live(runner: Runner, request: Request, output: str) -> int:
    """Run to the end or to Ctrl-C; of the outcome only what went wrong is told, on standard error."""
    if is_text(output):
        from letsbe.cli.draw_logs import LinePainter

        screen, painter = console(), LinePainter()

        def show(line: Any) -> None:
            screen.print(painter.paint(msgspec.to_builtins(line)))
    else:

        def show(line: Any) -> None:
            try:
                write_json(line)
            except BrokenPipeError:  # who read them has seen enough
                raise KeyboardInterrupt from None

    runner.on_live = show
    outcome = runner.run(request)
    if outcome.error is None and not outcome.data.get("errors"):
        return EXIT_OK
    from letsbe.cli.draw import printable

    if outcome.error is not None:
        sys.stderr.write(f"{printable(outcome.error.message)}\n{printable(outcome.error.hint)}\n")
        return exit_code(outcome)
    for one in outcome.data["errors"]:
        sys.stderr.write(printable(f"{one['container']}: {one['message']}") + "\n")
    return EXIT_OK
