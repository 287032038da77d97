"""How long ago something was, in words."""

from __future__ import annotations

import time

from letsbe.protocol import epoch


def age(moment: str) -> str:
    """``3 hours`` since an RFC 3339 time in UTC; the time itself when it can't be read."""
    try:
        seconds = max(0, int(time.time() - epoch(moment[:19] + "Z")))
    except ValueError:
        return moment
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} s"
