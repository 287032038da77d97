"""How a value is written into an env file so that compose and bash read it back exactly.

Bare when nothing in it means anything to either; single quotes when it holds neither ``'`` nor ``\\``; else double
quotes with ``\\``, ``"`` and ``$`` escaped and newlines as they are. compose has no escape for a backtick, which bash
would run inside double quotes, so a value that needs both can't be had for both: compose wins.
"""

from __future__ import annotations

import re
from typing import Literal

from letsbe.errors import LetsbeError

Style = Literal["auto", "bare", "single", "double"]

_SAFE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_ESCAPED_IN_DOUBLE = re.compile(r'[\\"$]')


def quoted(key: str, value: str, style: Style = "auto", *, never_bare: bool = False) -> str:
    """The value as it stands after ``KEY=``.

    Raises ``value_not_representable``, naming the key and never the value, when the style (or any) can't hold it.
    """
    _refuse_unwritable(key, value)
    if style == "bare" or (style == "auto" and not never_bare):
        if _SAFE.fullmatch(value):
            return value
        if style == "bare":
            raise _not_representable(key, "needs quotes", 'Use quote "auto".')
    if style != "double" and _fits_single_quotes(value, strict=style == "auto"):
        return f"'{value}'"
    if style == "single":
        raise _not_representable(key, "holds ' or ends in a backslash", 'Use quote "auto" or "double".')
    escaped = _ESCAPED_IN_DOUBLE.sub(r"\\\g<0>", value)
    return f'"{escaped}"'


def reads_back_in_bash(written: str) -> bool:
    """Whether bash, too, reads the exact value of a text made by :func:`quoted`."""
    return not (written.startswith('"') and "`" in written)


def _fits_single_quotes(value: str, *, strict: bool) -> bool:
    """compose takes a backslash before the closing quote for an escape; other programs take any for one (strict)."""
    if "'" in value:
        return False
    if strict and "\\" in value and "`" not in value:
        return False
    return (len(value) - len(value.rstrip("\\"))) % 2 == 0


def _refuse_unwritable(key: str, value: str) -> None:
    if "\0" in value:
        raise _not_representable(key, "holds a NUL character", "No environment can hold NUL; encode it (base64).")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _not_representable(key, "is not valid Unicode", "Encode it (base64).") from None


def _not_representable(key: str, why: str, hint: str) -> LetsbeError:
    return LetsbeError("value_not_representable", f"the value of {key} {why}", hint=hint, details={"key": key})
