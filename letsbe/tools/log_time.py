"""Moments in logs: nanoseconds since the epoch, RFC 3339, and durations back from now."""

from __future__ import annotations

import re
import time

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
NS = 1_000_000_000


def moment_ns(text: str, now: float) -> int:
    """Nanoseconds since the epoch of ``2026-11-24T10:00:00Z`` or of ``10m`` ago; :class:`ValueError` when neither."""
    if _DURATION.fullmatch(text):
        back = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[0-9]+[smhd]", text))
        return int((now - back) * NS)
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is neither an RFC 3339 time with its zone nor a duration like 10m")
    from datetime import datetime

    zone = "+00:00" if found[4].upper() == "Z" else found[4]
    second = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").timestamp()
    return int(second) * NS + int((found[3] or "0").ljust(9, "0"))


def for_engine(ns: int) -> str:
    """As the engine takes it: seconds, a point, nine digits."""
    return f"{ns // NS}.{ns % NS:09d}"


def as_instant(ns: int) -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // NS)) + f".{ns % NS:09d}Z"
