"""Regular expressions whose search time grows linearly with the text, whatever the pattern.

Python's own engine backtracks: ``(a+)+$`` on thirty characters takes minutes. Here a pattern becomes a nondeterministic
automaton (Thompson's construction) that is run as a lazily built deterministic one, so that each character costs one
look-up, or at worst one pass over the pattern's states. See Russ Cox, "Regular Expression Matching Can Be Simple And
Fast" (2007).

Syntax and meaning are those of Python's ``re``, without what no automaton can do: backreferences, look-around, atomic
groups and possessive repeats are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from letsbe.errors import LetsbeError

#: Counted repeats are written out: ``(abc){100}`` has 300 states.
MAX_STATES = 500
#: Remembered transitions; past that the memory is cleared.
_MAX_TRANSITIONS = 20_000

_START, _WORD, _OTHER, _END = "start", "word", "other", "end"
_NEVER = -1


class _State(Struct):
    """One state. ``test`` takes a character; without one, ``assertion`` (if any) must hold to pass on to ``nexts``."""

    nexts: list[int] = []
    test: Callable[[str], object] | None = None
    assertion: str = ""
    accepting: bool = False


class LinearRegex:
    """A compiled pattern. Raises ``invalid_pattern`` or ``pattern_too_complex`` when it can't be had."""

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        self._states, self._first, self._is_word = _Compiler(pattern, ignore_case).result()
        self._transitions: dict[tuple[int, str], int] = {}
        self._numbers: dict[tuple[frozenset[int], str], int] = {}
        self._sets: list[tuple[frozenset[int], str]] = []

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in a line (``^`` and ``$`` are its ends)."""
        current = self._number(frozenset({self._first}), _START)
        transitions = self._transitions
        for char in text:
            following = transitions.get((current, char))
            if following is None:
                following = self._step(current, char)
            if following == _NEVER:
                return True
            current = following
        return self._accepts(*self._sets[current], _END)

    def _step(self, number: int, char: str) -> int:
        """The set after a character; :data:`_NEVER` when a match was complete before it."""
        if len(self._transitions) >= _MAX_TRANSITIONS:
            waiting, before = self._sets[number]
            self._transitions.clear()
            self._numbers.clear()
            self._sets.clear()
            number = self._number(waiting, before)
        waiting, before = self._sets[number]
        kind = _WORD if self._is_word(char) else _OTHER
        reached = self._closure(waiting, before, kind)
        if any(self._states[index].accepting for index in reached):
            following = _NEVER
        else:
            moved = {self._first}
            for index in reached:
                test = self._states[index].test
                if test is not None and test(char):
                    moved.update(self._states[index].nexts)
            following = self._number(frozenset(moved), kind)
        self._transitions[number, char] = following
        return following

    def _number(self, waiting: frozenset[int], before: str) -> int:
        key = (waiting, before)
        if key not in self._numbers:
            self._numbers[key] = len(self._sets)
            self._sets.append(key)
        return self._numbers[key]

    def _accepts(self, waiting: frozenset[int], before: str, after: str) -> bool:
        return any(self._states[index].accepting for index in self._closure(waiting, before, after))

    def _closure(self, waiting: frozenset[int], before: str, after: str) -> set[int]:
        """Every state that can be reached without taking a character, between two kinds of neighbours."""
        reached: set[int] = set()
        stack = list(waiting)
        while stack:
            index = stack.pop()
            if index in reached:
                continue
            reached.add(index)
            state = self._states[index]
            if state.test is None and (not state.assertion or _holds(state.assertion, before, after)):
                stack.extend(state.nexts)
        return reached


def _holds(assertion: str, before: str, after: str) -> bool:
    if assertion == "beginning":
        return before == _START
    if assertion == "end":
        return after == _END
    at_boundary = (before == _WORD) != (after == _WORD)
    if assertion == "boundary":
        return at_boundary
    return not at_boundary


_ASSERTIONS = {
    "AT_BEGINNING": "beginning",
    "AT_BEGINNING_STRING": "beginning",
    "AT_END": "end",
    "AT_END_STRING": "end",
    "AT_BOUNDARY": "boundary",
    "AT_NON_BOUNDARY": "no boundary",
}
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
_REFUSED = {
    "GROUPREF": "a backreference",
    "GROUPREF_EXISTS": "a conditional on a group",
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
}


class _Compiler:
    """From Python's parse of a pattern to states, built from the end: each piece knows the state after it."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self._states: list[_State] = []
        try:
            from re import _parser  # type: ignore[attr-defined]

            parsed = _parser.parse(pattern, re.IGNORECASE if ignore_case else 0)
        except (re.error, OverflowError, RecursionError) as error:
            raise LetsbeError(
                "invalid_pattern", f"the pattern is no regular expression: {error}", hint="The syntax is Python's `re`."
            ) from None
        self._flags = parsed.state.flags & (re.IGNORECASE | re.ASCII | re.DOTALL)
        self._parsed = parsed

    def result(self) -> tuple[list[_State], int, Callable[[str], object]]:
        """States, the first of them, and what tells a word character."""
        try:
            first = self._sequence(self._parsed, self._add(_State(accepting=True)), self._flags)
        except RecursionError:
            raise _too_complex() from None
        return self._states, first, re.compile(r"\w", self._flags).match

    def _add(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise _too_complex()
        self._states.append(state)
        return len(self._states) - 1

    def _sequence(self, items: Any, after: int, flags: int) -> int:
        for operator, argument in reversed(list(items)):
            after = self._item(str(operator), argument, after, flags)
        return after

    def _item(self, operator: str, argument: Any, after: int, flags: int) -> int:
        if operator in _REFUSED:
            raise LetsbeError(
                "invalid_pattern",
                f"the pattern has {_REFUSED[operator]}, which can't be searched for in linear time",
                hint="Write it without, or search twice.",
            )
        if operator == "AT":
            return self._add(_State(nexts=[after], assertion=_ASSERTIONS[str(argument)]))
        if operator == "BRANCH":
            return self._add(_State(nexts=[self._sequence(branch, after, flags) for branch in argument[1]]))
        if operator == "SUBPATTERN":
            _, added, removed, inner = argument
            return self._sequence(inner, after, (flags | added) & ~removed)
        if operator in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            return self._repeat(least, most, inner, after, flags)
        source = _character_source(operator, argument)
        test = re.compile(source, flags & (re.IGNORECASE | re.ASCII | re.DOTALL)).match
        return self._add(_State(nexts=[after], test=test))

    def _repeat(self, least: int, most: Any, inner: Any, after: int, flags: int) -> int:
        if str(most) == "MAXREPEAT":
            loop = self._add(_State(nexts=[after]))
            self._states[loop].nexts.append(self._sequence(inner, loop, flags))
            after = loop
        else:
            end = after
            for _ in range(int(most) - least):
                after = self._add(_State(nexts=[end, self._sequence(inner, after, flags)]))
        for _ in range(least):
            after = self._sequence(inner, after, flags)
        return after


def _character_source(operator: str, argument: Any) -> str:
    """A pattern for one character, so that its meaning (case, Unicode) is that of ``re``."""
    if operator == "LITERAL":
        return _escaped(argument)
    if operator == "NOT_LITERAL":
        return f"[^{_escaped(argument)}]"
    if operator == "ANY":
        return "."
    negated, members = "", ""
    for kind, value in argument:
        name = str(kind)
        if name == "NEGATE":
            negated = "^"
        elif name == "LITERAL":
            members += _escaped(value)
        elif name == "RANGE":
            members += f"{_escaped(value[0])}-{_escaped(value[1])}"
        else:
            members += _CATEGORIES[str(value)]
    return f"[{negated}{members}]"


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


def _too_complex() -> LetsbeError:
    return LetsbeError(
        "pattern_too_complex",
        f"the pattern needs more than {MAX_STATES} states",
        hint="Counted repeats like {1000} are written out; use + or *, or a shorter pattern.",
    )
