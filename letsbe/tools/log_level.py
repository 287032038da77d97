"""How severe a log line says it is: in a field of its own (JSON, logfmt), in brackets, or in a word at its start."""

from __future__ import annotations

import re

#: From the least to the most severe.
LEVELS = ("debug", "info", "warning", "error")

_NAMES = {
    **dict.fromkeys(("trace", "debug", "verbose", "dbg", "trc", "debug1", "finest", "fine"), "debug"),
    **dict.fromkeys(("info", "information", "informational", "notice", "log", "inf", "note", "statement"), "info"),
    **dict.fromkeys(("warn", "warning", "wrn"), "warning"),
    **dict.fromkeys(("err", "error", "eror", "severe"), "error"),
    **dict.fromkeys(("fatal", "crit", "critical", "alert", "emerg", "emergency", "panic", "ftl", "dpanic"), "error"),
}
_FIELD = r"(?:level|lvl|severity|log\.level|levelname|loglevel|level_name)"
_JSON = re.compile(rf'"{_FIELD}"\s*:\s*"?([A-Za-z]+|\d+)', re.I)
_LOGFMT = re.compile(rf"(?:^|[\s,]){_FIELD}=\"?([A-Za-z]+)", re.I)
_BRACKETED = re.compile(r"[\[<(]\s*(?:[\w.-]{1,30}[:.])?([A-Za-z]{3,13})\s*[\]>)]")
_WORD = re.compile(r"(?:^|[\s|\]])([A-Z]{3,9})(?=[:\s|\[])|^([a-z]{3,9}):")
#: Where brackets and bare words are looked for, in characters.
_BEGINNING = 120
#: pino's and bunyan's numbers.
_NUMBERS = {"10": "debug", "20": "debug", "30": "info", "40": "warning", "50": "error", "60": "error"}


def level_of(line: str) -> str | None:
    """One of :data:`LEVELS`, or None when the line does not say. A field decides before anything in the text."""
    pattern = _JSON if line.lstrip()[:1] == "{" else _LOGFMT
    found = pattern.search(line)
    if found is not None:
        word = found.group(1).lower()
        return _NUMBERS.get(word) or _NAMES.get(word)
    beginning = line[:_BEGINNING]
    for search in (_BRACKETED, _WORD):
        for match in search.finditer(beginning):
            level = _NAMES.get((match.group(1) or match.group(match.lastindex or 1)).lower())
            if level is not None:
                return level
    return None


def is_at_least(line: str, level: str) -> bool:
    """Whether a line says that it is as severe as ``level``, or more; one that says nothing is not."""
    found = level_of(line)
    return found is not None and LEVELS.index(found) >= LEVELS.index(level)
