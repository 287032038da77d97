"""The values of env files: where they end and what their escapes mean, as compose-go's ``dotenv`` has it."""

from __future__ import annotations

import re

#: Go's unicode.IsSpace; Python's str.isspace has four separators more.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
#: What may stand between the parts of one line.
BLANK = "\t\v\f\r \x85\xa0"

_REST_OF_QUOTED = {
    "'": re.compile(r"[^'\\]*(?:\\.[^'\\]*)*'", re.S),
    '"': re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.S),
}
_PAIR = re.compile(r"\\(.)", re.S)
_ESCAPE = re.compile(r"\\(?:[abcfnrtv$\"\\]|0[0-9]{0,3})")
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "$": "$$",
    '"': '"',
    "\\": "\\",
}


class DotenvSyntaxError(ValueError):
    """What compose refuses, and where: an offset into the text. The message quotes no value."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


def read_value(text: str, start: int, line_end: int) -> tuple[int, str, str]:
    """End, quote and template (escapes resolved, variables not) of the value at ``start``."""
    quote = text[start : start + 1]
    if quote not in _REST_OF_QUOTED:
        raw = text[start:line_end].partition(" #")[0].rstrip(WHITE_SPACE)
        return start + len(raw), "", raw
    rest = _REST_OF_QUOTED[quote].match(text, start + 1)
    if rest is None:
        raise DotenvSyntaxError(start, f"a value that begins with {quote} never ends")
    inner = _PAIR.sub(
        lambda pair: quote if pair[1] == quote else pair[0],
        text[start + 1 : rest.end() - 1],
    )
    return rest.end(), quote, _ESCAPE.sub(_unescape, inner) if quote == '"' else inner


def _unescape(match: re.Match[str]) -> str:
    """One escape of a double-quoted value. Octal ones need three digits after the 0; others lose that 0."""
    code = match.group()[1:]
    if not code.startswith("0"):
        return _ESCAPED.get(code, match.group())
    digits = code[1:]
    if re.fullmatch("[0-3][0-7]{2}", digits):
        return chr(int(digits, 8))
    return "\\" + digits
