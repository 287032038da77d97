"""Compose's variable interpolation: ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``$$``.

The same grammar holds inside env files (bare and double-quoted values) and in the strings of a compose file. Source:
compose-spec/compose-go, package ``template``, and https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md;
where the two differ, what the program does counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

#: Name -> value; None when the variable is not set.
Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class TemplateError(ValueError):
    """A text that compose refuses to interpolate; the message holds no value, only the variable's name."""


class Variable(Struct, frozen=True):
    """One ``$`` expression. ``operator`` is empty for a plain one; ``operand`` is the default or the message."""

    name: str
    operator: str = ""
    operand: str = ""


def expand(text: str, lookup: Lookup) -> str:
    """The text with its variables replaced; unset ones are empty. Raises :class:`TemplateError`."""
    return "".join(part if isinstance(part, str) else _value(part, lookup) for part in _parts(text))


def variables(text: str) -> list[Variable]:
    """Every variable that a text names, those inside defaults included. Raises :class:`TemplateError`."""
    found: list[Variable] = []
    for part in _parts(text):
        if isinstance(part, Variable):
            found.append(part)
            found.extend(variables(part.operand))
    return found


def _value(variable: Variable, lookup: Lookup) -> str:
    value = lookup(variable.name)
    kind = variable.operator[-1:]
    present = value is not None and (value != "" or not variable.operator.startswith(":"))
    if kind == "-" and not present:
        return expand(variable.operand, lookup)
    if kind == "+" and present:
        return expand(variable.operand, lookup)
    if kind == "?" and not present:
        raise TemplateError(f"required variable {variable.name} is missing a value")
    return value or ""


def _parts(text: str) -> Iterator[str | Variable]:
    """Literal pieces and variables, in order."""
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        yield text[position:dollar]
        following = text[dollar + 1 : dollar + 2]
        name = _NAME.match(text, dollar + 1)
        if following == "$":
            yield "$"
            position = dollar + 2
        elif name is not None:
            yield Variable(name.group())
            position = name.end()
        elif following == "{":
            variable, position = _braced(text, dollar)
            yield variable
        else:
            yield "$"
            position = dollar + 1
    yield text[position:]


def _braced(text: str, dollar: int) -> tuple[Variable, int]:
    """The ``${...}`` that starts at ``dollar``, and where the text goes on."""
    name = _NAME.match(text, dollar + 2)
    if name is None:
        raise TemplateError("`${` is not followed by a variable name")
    if text.startswith("}", name.end()):
        return Variable(name.group()), name.end() + 1
    operator = _OPERATOR.match(text, name.end())
    line_end = text.find("\n", dollar)
    last = text.rfind("}", name.end(), len(text) if line_end < 0 else line_end)
    if operator is None or last < operator.end():
        raise TemplateError(f"`${{{name.group()}` is not closed by `}}` on its line")
    end = _balanced_brace(text, dollar, last + 1)
    return Variable(name.group(), operator.group(), text[operator.end() : end]), end + 1


def _balanced_brace(text: str, start: int, stop: int) -> int:
    """Where the first ``{`` after ``start`` is closed; the last brace before ``stop`` when it never is.

    Compose steps over the character after each ``{``, whatever it is: ``${A:-{}}`` is one expression.
    """
    depth, position = 0, start
    while position < stop:
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text[position] == "{":
            depth += 1
            position += 1
        position += 1
    return stop - 1
