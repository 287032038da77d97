"""The lines of the log of ``serve``: whoever had a hand in a text, each record begins one line, and no text another."""

from __future__ import annotations

import logging


class Formatter(logging.Formatter):
    """Time, level and message on one line, what does not print spelled out; a traceback is indented below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging calls it
        """The line."""
        return _printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        """The traceback: an exception's message may be a client's as well."""
        return "\n".join(f"  {_printable(line)}" for line in super().formatException(ei).splitlines())  # type: ignore[arg-type]


def to_stderr() -> None:
    """Log there from now on; of uvicorn only what is amiss."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
