"""Standard output: the outcome and nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from letsbe.cli.forms import further_forms, rendered
from letsbe.errors import EXIT_OK, fate
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from rich.console import Console


def is_text(mode: str) -> bool:
    """Whether to draw for a person: asked for, or left to us on a terminal."""
    return mode == "text" or (mode == "auto" and sys.stdout.isatty())


def exit_code(outcome: Outcome) -> int:
    """The exit code of a run."""
    return fate(outcome.error.code).exit_code if outcome.error else EXIT_OK


def emit_outcome(outcome: Outcome, mode: str) -> int:
    """Print an outcome; returns the exit code."""
    if is_text(mode):
        from letsbe.cli.draw import draw_outcome

        draw_outcome(console(), outcome)
    elif mode in further_forms(outcome.type):
        _write(rendered(outcome, mode).encode())
    else:
        write_json(outcome)
    return exit_code(outcome)


def write_json(document: Any) -> None:
    """One JSON document and a line feed."""
    _write(msgspec.json.encode(document) + b"\n")


def _write(data: bytes) -> None:
    """Raw bytes: encoding errors can't happen and nothing is half buffered."""
    sys.stdout.flush()
    while data:
        data = data[os.write(1, data) :]


def console() -> Console:
    """A rich console on standard output; colours only on a terminal. Brackets and colons in text are text."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 100
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())
