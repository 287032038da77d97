"""Showing env files: the values of secrets covered exactly, however they are quoted and over however many lines."""

from __future__ import annotations

import re

from letsbe.tools.dotenv import BOM, parse
from letsbe.tools.redaction import MASK, Redactor
from letsbe.tools.secret_values import is_secret

_NOT_LINE_END = re.compile(r"[^\r\n]")


class EnvRedactor(Redactor):
    """For :func:`letsbe.tools.diff.unified_diff` of env files: what ``known`` covers, and every secret's value."""

    def __init__(self, known: Redactor) -> None:
        super().__init__()
        self._known = known

    def mask(self, text: str) -> str:
        """The text with its secrets covered character by character; line ends stay."""
        bom = len(BOM.decode()) if text.startswith(BOM.decode()) else 0
        pieces: list[str] = []
        position = 0
        for statement in parse(text.encode()).statements:
            if statement.value and is_secret(statement.key, statement.value):
                start, end = statement.value_start + bom, statement.end + bom
                pieces += (text[position:start], _NOT_LINE_END.sub(MASK, text[start:end]))
                position = end
        return self._known.mask("".join(pieces) + text[position:])
