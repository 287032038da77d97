"""Where secrets stand in a text: behind names that say so, in env files, YAML, JSON, configuration, logs and commands.

No format is parsed: a text may be any of them, or a mixture. Where it is unclear how far a value goes, more is covered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

#: From the beginning of a word only, and possessive: a long word is looked at once. After an option its value may also
#: follow as the next word, the next element of a list, or the next item of a list in YAML. What begins a line with one
#: dash is no option: it may be what a diff takes away.
_NAME = re.compile(
    r"""(?<![A-Za-z0-9_.\-])(?P<name>(?P<option>(?:--|(?<=[^\n])-)(?=[A-Za-z]))?[A-Za-z0-9_.\-]++)(?P<quote>["']?)"""
    r"""(?:[ \t]*+(?P<sign>=>|:=|[=:])(?!=)[ \t]*+|(?(option)"""
    r"""(?P<next>[ \t]*+,\s*+|[ \t]*+\\?\r?\n[ \t]*+-[ \t]++|[ \t]++(?:\\\r?\n[ \t]*+)?)(?!-)|(?!)))"""
)
#: ``--password-file`` names a place and ``--no-password`` nothing, not a secret.
_PLACES = ("file", "path", "dir", "command", "cmd", "stdin")
_QUOTED = re.compile(r'"(?P<double>(?:[^"\\\n]|\\.)*)"' + r"|'(?P<single>[^'\n]*)'")
#: A word of a command line, which may stand in a string itself (``\"two words\"``), or be cut off within its quotes.
_ARGUMENT = re.compile(r"""(?P<escaped>\\++["'])[^\n]*?(?P=escaped)|["']?(?:[^\s"'\\]|\\.)+""")
_WORD = re.compile(r"(?:(?:Bearer|Basic|Digest|Token|ApiKey)[ \t]+)?[^\s,;]+", re.I)
_REST_OF_LINE = re.compile(r"(?:(?![ \t]+#)[^\n\r])+")
#: What may stand before a name that begins its line: indent, list dashes, `export`, a diff's sign.
_LINE_BEGINNING = re.compile(r"[+\-]?\s*(?:-[ \t]+)*(?:(?:export|set|setenv|ENV|ARG)[ \t]+)?")
_BLOCK_SIGN = re.compile(r"(?:[|>][0-9+\-]{0,2})?[ \t]*(?:#[^\n]*)?(?=\r?\n|\Z)")
_CLOSES = {"{": "}", "[": "]"}
_MAX_NESTED = 64 * 1024


def secret_values(text: str, is_secret_name: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Start and end of each value that stands under a secret name, without its quotes; in order, never empty."""
    done = 0
    for found in _NAME.finditer(text):
        if found.start() < done or not is_secret_name(found["name"]):
            continue
        if found["option"] and names_a_place(found["name"]):
            continue
        start, end = _value(text, found)
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if start < end:
            yield start, end
            done = end


def names_a_place(option: str) -> bool:
    """Whether an option with the name of a secret says where it is, or that there is none."""
    return option.lower().endswith(_PLACES) or option.startswith("--no-")


def _value(text: str, found: re.Match[str]) -> tuple[int, int]:
    position = found.end()
    quoted = _QUOTED.match(text, position)
    if quoted is not None:
        group = "double" if quoted["double"] is not None else "single"
        return quoted.span(group)
    if found["next"]:
        argument = _ARGUMENT.match(text, position)
        return argument.span() if argument is not None else (position, position)
    if text[position : position + 1] in _CLOSES:
        return position, _nested_end(text, position)
    line_start = text.rfind("\n", 0, found.start()) + 1
    before = text[line_start : found.start()].removesuffix(found["quote"] or "\0")
    begins_line = _LINE_BEGINNING.fullmatch(before) is not None
    block = _BLOCK_SIGN.match(text, position)
    if block is not None and found["sign"] == ":" and begins_line:
        if found["name"] == "secrets":  # compose lists names there
            return position, position
        return block.end(), _block_end(text, block.end(), _indent(before))
    value = (_REST_OF_LINE if begins_line and not found["quote"] else _WORD).match(text, position)
    if value is None:
        return position, position
    return position, position + len(value.group().rstrip())


def _nested_end(text: str, start: int) -> int:
    """After the bracket that closes the one at ``start``, or after a bounded stretch."""
    depth = 0
    stop = min(len(text), start + _MAX_NESTED)
    for position in range(start, stop):
        depth += text[position] in "{["
        depth -= text[position] in "}]"
        if depth == 0:
            return position + 1
    return stop


def _block_end(text: str, position: int, indent: int) -> int:
    """The end of the lines below that are indented deeper, or are items of a list as deep."""
    while position < len(text):
        start = text.find("\n", position) + 1
        if start == 0:
            return len(text)
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        deeper = _indent(line) > indent or (_indent(line) == indent and line.lstrip().startswith("- "))
        if line.strip() and not deeper:
            return position
        if start == len(text):
            return position
        position = end
    return position


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
