"""Spans and moments as people write them: ``90s``, ``1h30m``, ``2026-11-23T10:00:00Z``."""

from __future__ import annotations

import re

from letsbe.errors import LetsbeError
from letsbe.protocol import epoch

#: How far the clocks of the processes that serve may be apart, in seconds. A moment that lies further ahead was noted
#: while a clock was wrong, and counts for nothing: else it would count until the clock is there again.
SKEW_S = 300

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_LONGEST_S = 10 * 365 * 86_400


def parse_span(text: str) -> int:
    """Seconds in a span such as ``45s``, ``10m``, ``1h30m``, ``7d``, ``2w``; between 1 s and 10 years.

    Raises ``usage``.
    """
    if _SPAN.fullmatch(text):
        seconds = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[0-9]+[smhdw]", text))
        if 0 < seconds <= _LONGEST_S:
            return seconds
    raise LetsbeError("usage", f"{text!r} is no time span", hint="Write it like 90s, 10m, 1h30m, 7d or 2w.")


def parse_moment(text: str, now: float) -> float:
    """Seconds since the epoch of an RFC 3339 instant, or of a span counted from ``now``. Raises ``usage``."""
    try:
        return epoch(text)
    except ValueError:
        pass
    try:
        return now + parse_span(text)
    except LetsbeError as error:
        raise LetsbeError(
            "usage",
            f"{text!r} is neither an instant nor a time span",
            hint="Write it like 2026-11-23T10:00:00Z, or from now: 90s, 10m, 1h30m, 7d.",
        ) from error


def ago(seconds: float) -> str:
    """A span for people, in its largest unit: ``12s``, ``5m``, ``3h``, ``2d``."""
    for unit in "dhm":
        if seconds >= _UNITS[unit]:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{max(0, int(seconds))}s"
