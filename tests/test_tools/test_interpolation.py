"""Compose's ``$`` expressions. (That values come out as in compose is tested through env files.)"""

from __future__ import annotations

import pytest

from letsbe.tools.interpolation import TemplateError, Variable, expand, variables


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A ${A} $$A $ $1", "one one $A $ $1"),
        ("${A:-x} ${E:-x} ${E-x} ${NO-x} ${NO:-$A}", "one x  x one"),
        ("${A:+x} ${E:+x}. ${E+x} ${NO+x}.", "x . x ."),
        ("${NO:-${ALSO:-deep}}!", "deep!"),
        ("${NO:-{}}", "{}"),
        ("${A:?gone} ${A?gone}", "one one"),
        ("${NO:-a}} ${A}", "a} one"),
    ],
)
def test_expand(text: str, result: str) -> None:
    assert expand(text, {"A": "one", "E": ""}.get) == result


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A", "${A:-b", "${A:-b\n}", "${A b}", "${NO:?hunter2}"])
def test_refused(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(text, {"A": "hunter2"}.get)
    assert "hunter2" not in str(caught.value)


def test_variables_inside_defaults_are_found() -> None:
    assert variables("$A ${B:-${C?no}} $$D") == [
        Variable("A"),
        Variable("B", ":-", "${C?no}"),
        Variable("C", "?", "no"),
    ]
