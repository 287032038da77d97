"""References between the steps of a COMPOSITE: ``${steps.ID.data.field[0]}`` and ``${vars.NAME}``, no expressions.

A string that is one reference takes the referred value with its type; inside a longer string a scalar is written out.
``$${steps.`` stands for a literal ``${steps.``; any other ``${...}`` (a compose variable, say) is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from letsbe.errors import LetsbeError

_REFERENCE = re.compile(r"(?P<escape>\$?)\$\{(?P<root>steps|vars)\.(?P<rest>[^}]*)\}")
_STEP_FIELDS = ("status", "success", "changed", "data", "error")
_STEP_PATH = re.compile(r"(?P<id>[a-z][a-z0-9_-]{0,62})\.(?P<field>[a-z]+)(?P<path>(?:\.[A-Za-z0-9_-]+|\[\d{1,6}\])*)")
_PART = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]")

#: Given ``("steps", id, [field, ...])`` or ``("vars", name, [])``: the value.
Lookup = Callable[[str, str, list[str | int]], Any]


def find(value: Any) -> Iterator[tuple[str, str, list[str | int]]]:
    """Every reference in a JSON value, as a :data:`Lookup`'s arguments; ``invalid_reference`` for a malformed one."""
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            if not match["escape"]:
                yield _parse(match)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from find(item)
    elif isinstance(value, list):
        for item in value:
            yield from find(item)


def resolve(value: Any, lookup: Lookup) -> Any:
    """The JSON value with every reference replaced by what ``lookup`` gives for it."""
    if isinstance(value, str):
        return _resolve_text(value, lookup)
    if isinstance(value, Mapping):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, lookup) for item in value]
    return value


def descend(value: Any, path: list[str | int], reference: str, hint: str) -> Any:
    """What stands at ``path`` inside a JSON value; ``unresolved_reference``, with the hint, when nothing does."""
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            raise LetsbeError("unresolved_reference", f"{reference}: there is no {part!r}", hint=hint) from None
    return value


def spell(root: str, name: str, path: list[str | int]) -> str:
    """A reference as it was written."""
    return f"${{{root}.{name}{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in path)}}}"


def _parse(match: re.Match[str]) -> tuple[str, str, list[str | int]]:
    rest = match["rest"]
    if match["root"] == "vars":
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", rest):
            raise _malformed(match.group())
        return "vars", rest, []
    parsed = _STEP_PATH.fullmatch(rest)
    if parsed is None or parsed["field"] not in _STEP_FIELDS:
        raise _malformed(match.group())
    path: list[str | int] = [parsed["field"]]
    path += [int(index) if index else name for name, index in _PART.findall(parsed["path"])]
    return "steps", parsed["id"], path


def _resolve_text(text: str, lookup: Lookup) -> Any:
    whole = _REFERENCE.fullmatch(text)
    if whole is not None and not whole["escape"]:
        return lookup(*_parse(whole))

    def replace(match: re.Match[str]) -> str:
        if match["escape"]:
            return match.group()[1:]
        value = lookup(*_parse(match))
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (str, int, float)):
            return str(value)
        raise LetsbeError(
            "unresolved_reference",
            f"{match.group()} is no text or number, and stands inside a longer text",
            hint="Let the reference be the whole value.",
        )

    return _REFERENCE.sub(replace, text)


def _malformed(text: str) -> LetsbeError:
    return LetsbeError(
        "invalid_reference",
        f"{text} is no reference",
        hint=f"${{vars.NAME}}, or ${{steps.ID.FIELD...}} with FIELD one of {', '.join(_STEP_FIELDS)};"
        " a literal ${steps. is written $${steps.",
    )
