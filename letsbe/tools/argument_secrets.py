"""Secrets in an argument list, known by the option or variable that they are the value of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from letsbe.tools.assignments import names_a_place
from letsbe.tools.redaction import is_secret_name

#: A word of a command line: bare and quoted stretches that touch.
_WORD = re.compile(r"""(?:[^\s"'\\]++|\\.|"[^"\\]*+(?:\\.[^"\\]*+)*"|'[^']*+'|["'\\])+""", re.S)
_QUOTED = re.compile(r"""\\(.)|"([^"\\]*+(?:\\.[^"\\]*+)*)"|'([^']*+)'""", re.S)
_ESCAPED = re.compile(r"\\(.)", re.S)
#: How deep command lines are looked for within the words of command lines: ``sh -c "su -c 'app --token x'"``.
_DEPTH = 3


def secret_arguments(argv: Sequence[str]) -> list[str]:
    """The values in ``--password=VALUE``, ``--password VALUE``, ``PASSWORD=VALUE``, each once.

    A word with blanks in it may be a command line itself, as after ``sh -c``: it is looked into as well.
    """
    return [value for value in dict.fromkeys(_found(argv, _DEPTH)) if value]


def _found(argv: Sequence[str], depth: int) -> Iterator[str]:
    option = False
    for word in argv:
        name, sign, value = word.partition("=")
        is_secret = not _has_blanks(name) and is_secret_name(name) and not names_a_place(name)
        if sign and is_secret:
            yield value
        elif option and not word.startswith("-"):
            yield word
            yield word.rstrip(";&|)")  # where it ended the command
        option = is_secret and not sign and word.startswith("-")
        if depth and _has_blanks(word) and not word.startswith("-"):
            yield from _found([_unquoted(found) for found in _WORD.findall(word)], depth - 1)


def _has_blanks(word: str) -> bool:
    return any(map(str.isspace, word))


def _unquoted(word: str) -> str:
    """A word of a command line without its quotes and backslashes, as a shell reads it."""
    return _QUOTED.sub(lambda found: found[1] or found[3] or _ESCAPED.sub(r"\1", found[2] or ""), word)
