"""Durations and sizes as compose prints them: ``1m30s``, ``500ms``, ``52428800``, ``10m``."""

from __future__ import annotations

import re
from typing import Any

_S = 10**9
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": _S, "m": 60 * _S, "h": 3600 * _S}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.I)


def nanoseconds(duration: Any) -> int:
    """Of a duration; 0 for none. ``ValueError`` when it is not one."""
    text = str(duration or "0s")
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return round(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


def byte_count(size: Any) -> int:
    """Of a size; -1 is kept (no limit), 0 for none. ``ValueError`` when it is not one."""
    text = str(size or 0).strip()
    if text == "-1":
        return -1
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no size")
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))
