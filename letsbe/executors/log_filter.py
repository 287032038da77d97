"""Which log lines are wanted, and how they may be shown."""

from __future__ import annotations

from collections.abc import Callable

from letsbe.tools.log_level import is_at_least
from letsbe.tools.log_stream import LogRecord
from letsbe.tools.redaction import Redactor, unmask

_SPECIAL = frozenset(r"\.^$*+?{}[]|()")
#: Of one line so much is shown, in characters.
MAX_SHOWN = 32_768


class LogFilter:
    """A pattern in linear time and a least severity. The search is in what may be shown, secrets covered."""

    def __init__(self, redactor: Redactor, pattern: str | None, level: str | None) -> None:
        self._redactor = redactor
        self._level = level
        self._needle: bytes | None = None
        self._search: Callable[[str], bool] | None = None
        if pattern is not None and not _SPECIAL.intersection(pattern):
            self._needle = pattern.encode()
            self._search = lambda text: pattern in text
        elif pattern is not None:
            from letsbe.tools.linear_regex import LinearRegex

            self._search = LinearRegex(pattern).search

    @property
    def selects(self) -> bool:
        """Whether it leaves anything out."""
        return self._search is not None or self._level is not None

    def shown(self, record: LogRecord) -> str | None:
        """The line as it may be shown; None when it is not wanted."""
        if self._needle is not None and self._needle not in record.text:
            return None
        text = record.text.decode("utf-8", "replace").rstrip("\r")
        if self._level is not None and not is_at_least(text, self._level):
            return None
        shown = unmask(self._redactor.mask(text)[:MAX_SHOWN])
        return None if self._search is not None and not self._search(shown) else shown
