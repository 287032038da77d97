"""Durations as people write them: ``30m``, ``2h``, ``1h30m``, ``3d``."""

from __future__ import annotations

import re

from letsbe.errors import LetsbeError

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:[0-9]{1,6}[mhd])+", re.ASCII)


def parse_duration(text: str, most_s: int) -> int:
    """Seconds in a duration, from one minute to ``most_s``. Raises ``usage``."""
    hint = "Write it like 30m, 2h, 1h30m or 3d."
    if not _DURATION.fullmatch(text):
        raise LetsbeError("usage", f"{text!r} is no duration", hint=hint)
    seconds = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[0-9]+[mhd]", text))
    if not 60 <= seconds <= most_s:
        raise LetsbeError("usage", f"{text} is not between 1 minute and {most_s // 86_400} days", hint=hint)
    return seconds
