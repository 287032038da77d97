"""The linear-time matcher, with Python's own as the oracle where that is fast."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from letsbe.errors import LetsbeError
from letsbe.tools.linear_regex import LinearRegex

_ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "B",
        ".",
        r"\d",
        r"\W",
        r"\s",
        "[a-c]",
        "[^a]",
        "[^\\s\\d]",
        "é",
        r"\.",
        r"\b",
        r"\B",
        "^",
        "$",
        "(?i:a)",
    ]
)
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("|".join).map(lambda text: f"(?:{text})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "{2,}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=1500, deadline=None)
@given(pattern=_PATTERNS, text=st.text(alphabet="aAbBc1 .éÉ_-", max_size=8), ignore_case=st.booleans())
def test_finds_what_re_finds(pattern: str, text: str, ignore_case: bool) -> None:
    assume(text or "\\B" not in pattern)  # what \B means in an empty text depends on Python's version
    expected = re.search(pattern, text, re.IGNORECASE if ignore_case else 0) is not None
    assert LinearRegex(pattern, ignore_case=ignore_case).search(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("error|fail", "a failure", True),
        ("^error", "an error", False),
        (r"\berror\b", "errors", False),
        (r"status=5\d\d", "GET / status=502", True),
        ("", "", True),
        ("(?i)ERROR", "Error", True),
        ("(?x) a  b # comment", "ab", True),
        ("ß", "STRASSE", False),
        ("a{0}b", "b", True),
    ],
)
def test_table(pattern: str, text: str, found: bool) -> None:
    assert LinearRegex(pattern).search(text) is found
    assert (re.search(pattern, text) is not None) is found


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*$", "(a*)*b", "a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)[^a]$", "(a|aa)+$"]
)
def test_patterns_that_blow_a_backtracking_engine_up_stay_linear(pattern: str) -> None:
    regex = LinearRegex(pattern)
    began = time.monotonic()
    regex.search("a" * 100_000 + "!")
    assert time.monotonic() - began < 20


def test_worst_case_fills_no_memory() -> None:
    regex = LinearRegex("(a|b)*a(a|b){14}c")
    for number in range(3):
        text = "".join("ab"[(index * index + number * index // 7) % 3 % 2] for index in range(50_000))
        assert not regex.search(text)
        assert len(regex._transitions) <= 20_000


@pytest.mark.parametrize(
    ("pattern", "code", "says"),
    [
        (r"(a)\1", "invalid_pattern", "backreference"),
        ("(?=a)b", "invalid_pattern", "look-around"),
        ("(?<!a)b", "invalid_pattern", "look-around"),
        ("(?>a)b", "invalid_pattern", "atomic"),
        ("a++", "invalid_pattern", "possessive"),
        ("(a)?(?(1)b|c)", "invalid_pattern", "conditional"),
        ("(", "invalid_pattern", "no regular expression"),
        ("a{1000}", "pattern_too_complex", "states"),
        ("(((a{20}){20}){20}){20}", "pattern_too_complex", "states"),
        ("(" * 400 + ")" * 400, "", ""),
    ],
)
def test_what_is_refused(pattern: str, code: str, says: str) -> None:
    if not code:
        assert LinearRegex(pattern).search("x")
        return
    with pytest.raises(LetsbeError) as caught:
        LinearRegex(pattern)
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.hint
