"""Env files in the grammar that ``docker compose`` reads: compose-go's package ``dotenv``.

It is not python-dotenv's: ``'a'=b`` is refused, ``a: b`` is an assignment, ``a # b`` is ``a``, quoted values go on over
lines, variables are replaced in bare and double-quoted values, and a bare name takes its value from outside the file.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from msgspec import Struct

from letsbe.tools.dotenv_values import BLANK, WHITE_SPACE, DotenvSyntaxError, read_value
from letsbe.tools.interpolation import Lookup, TemplateError, expand, variables

BOM = b"\xef\xbb\xbf"

_NOT_WHITE = re.compile(f"[^{WHITE_SPACE}]")
_IN_KEY = re.compile(rf"[\w.\-\[\]{BLANK}]+")
_EXPORT = re.compile(rf"export(?=[\t\n\f\r ])[{BLANK}]*")


class Statement(Struct, frozen=True, kw_only=True):
    """One assignment (or bare name) and where it stands: offsets into :attr:`EnvFile.text`, in characters."""

    key: str
    #: None for a bare name that is not set outside the file.
    value: str | None
    line: int
    #: Where the statement begins (``export`` included), its key, its value (quotes included), and where that ends.
    start: int
    key_start: int
    value_start: int
    end: int
    #: ``'`` or ``"``; empty for a bare value.
    quote: str = ""
    #: A bare name: the value comes from outside the file.
    inherited: bool = False
    #: The variables that the value names, so that it depends on more than this statement.
    refers: tuple[str, ...] = ()


class Problem(Struct, frozen=True):
    """Why compose refuses the file: the line, from 1, and a message that quotes no value."""

    line: int
    message: str


class EnvFile(Struct, frozen=True, kw_only=True):
    """A parsed env file. ``text`` is the content after the byte order mark, undecodable bytes as surrogates."""

    text: str
    bom: bool
    statements: list[Statement]
    problems: list[Problem]

    @property
    def values(self) -> dict[str, str]:
        """Key -> value as compose sees it: the last one counts."""
        return {found.key: found.value for found in self.statements if found.value is not None}

    def by_key(self) -> dict[str, list[Statement]]:
        """The statements of each key, in order."""
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            found.setdefault(statement.key, []).append(statement)
        return found


def parse(content: bytes, outside: Lookup = lambda _: None) -> EnvFile:
    """Read an env file; problems are listed, not raised, and reading goes on at the next line.

    ``outside`` gives the variables of the environment, which win over those of the file.
    """
    text = content.removeprefix(BOM).decode("utf-8", "surrogateescape")
    return _Reader(text, outside).read(bom=content.startswith(BOM))


class _Reader:
    def __init__(self, text: str, outside: Lookup) -> None:
        self._text = text
        self._outside = outside
        self._values: dict[str, str] = {}
        self._newlines = [found.start() for found in re.finditer("\n", text)]

    def read(self, *, bom: bool) -> EnvFile:
        statements: list[Statement] = []
        problems: list[Problem] = []
        position = 0
        while (start := self._next_statement(position)) is not None:
            try:
                found, position = self._statement(start)
            except DotenvSyntaxError as problem:
                problems.append(Problem(self._line(problem.position), str(problem)))
                position = self._line_end(problem.position)
                continue
            if found.key:
                statements.append(found)
                if found.value is not None:
                    self._values[found.key] = found.value
        return EnvFile(text=self._text, bom=bom, statements=statements, problems=problems)

    def _next_statement(self, position: int) -> int | None:
        while (found := _NOT_WHITE.search(self._text, position)) is not None:
            if found.group() != "#":
                return found.start()
            position = self._line_end(found.start())
        return None

    def _statement(self, start: int) -> tuple[Statement, int]:
        export = _EXPORT.match(self._text, start)
        key_start = export.end() if export else start
        if key_start == len(self._text):
            raise DotenvSyntaxError(start, "`export` without a name")
        stop = self._key_stop(key_start)
        key = self._text[key_start:stop].rstrip(WHITE_SPACE)
        line = self._line(key_start)
        if self._text[stop : stop + 1] not in ("=", ":"):
            if " " in key:
                raise DotenvSyntaxError(key_start, "a name without `=` holds a space")
            if key == "export":
                key = ""  # at the very end of a file
            end = key_start + len(key)
            return Statement(
                key=key,
                value=self._outside(key),
                line=line,
                start=start,
                key_start=key_start,
                value_start=end,
                end=end,
                inherited=True,
            ), stop
        if " " in key:
            raise DotenvSyntaxError(key_start, "a key cannot hold a space")
        value_start = stop + 1
        while value_start < len(self._text) and self._text[value_start] in BLANK:
            value_start += 1
        end, quote, template = read_value(self._text, value_start, self._line_end(value_start))
        try:
            value = expand(template, self._lookup) if quote != "'" else template
            refers = tuple(found.name for found in variables(template)) if quote != "'" else ()
        except TemplateError as error:
            raise DotenvSyntaxError(value_start, str(error)) from None
        position = end if quote else self._line_end(value_start)
        return Statement(
            key=key,
            value=value,
            line=line,
            start=start,
            key_start=key_start,
            value_start=value_start,
            end=end,
            quote=quote,
            refers=refers,
        ), position

    def _key_stop(self, start: int) -> int:
        """Where the ``=``, ``:`` or line end after a key is."""
        found = _IN_KEY.match(self._text, start)
        stop = found.end() if found else start
        char = self._text[stop : stop + 1]
        if char not in ("=", ":", "\n", ""):
            shown = char if char.isprintable() else repr(char).strip("'")
            raise DotenvSyntaxError(start, f"unexpected character `{shown}` in a key")
        return stop

    def _lookup(self, name: str) -> str | None:
        found = self._outside(name)
        return self._values.get(name) if found is None else found

    def _line(self, position: int) -> int:
        return bisect_left(self._newlines, position) + 1

    def _line_end(self, position: int) -> int:
        index = bisect_left(self._newlines, position)
        return self._newlines[index] if index < len(self._newlines) else len(self._text)
