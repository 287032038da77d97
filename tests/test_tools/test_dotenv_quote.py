"""Written values read back exactly: compose (both ways) and bash are the oracles."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letsbe.errors import LetsbeError
from letsbe.tools.dotenv import parse
from letsbe.tools.dotenv_edit import edit
from letsbe.tools.dotenv_quote import quoted
from tests.env_oracles import bash_reads, compose_reads

HOSTILE = {
    "empty": "",
    "blank": " ",
    "leading_blank": "  x",
    "trailing_blank": "x  ",
    "tab": "\t",
    "tabs_around": "\ta\tb\t",
    "newline": "\n",
    "two_lines": "a\nb",
    "trailing_newline": "a\n",
    "leading_newline": "\na",
    "assignment_on_second_line": "a\nPATH=/evil",
    "comment_on_second_line": "a\n# b",
    "quote_on_second_line": "a\n'b'\n\"c\"",
    "crlf": "a\r\nb",
    "lone_cr": "a\rb",
    "trailing_cr": "a\r",
    "form_feed": "a\fb\v",
    "bell_escape_delete": "\a\b\x1b[31m\x7f\x01",
    "python_only_space": "\x1ca\x1f",
    "single_quote": "'",
    "double_quote": '"',
    "both_quotes": 'it\'s "so"',
    "quoted_whole": '"x"',
    "single_quoted_whole": "'x'",
    "quote_inside": "a'b",
    "unbalanced": "\"'",
    "escaped_quotes": "\\\"\\'",
    "backslash": "\\",
    "two_backslashes": "\\\\",
    "three_backslashes": "\\\\\\",
    "trailing_backslash": "a\\",
    "backslash_newline": "a\\\nb",
    "literal_n": "a\\nb",
    "literal_t_r": "\\t\\r\\v\\f\\a\\b\\c\\e",
    "literal_octal": "\\0101 \\012 \\0 \\0777",
    "literal_hex": "\\x41\\u0041",
    "windows_path": "C:\\new\\table\\",
    "backslash_quote": 'a\\"b',
    "backslash_single_quote": "a\\'b",
    "backslash_dollar": "a\\$b",
    "dollar": "$",
    "two_dollars": "$$",
    "three_dollars": "$$$",
    "dollar_name": "$HOME",
    "braced": "${PATH}",
    "braced_default": "${NOPE:-x}",
    "required": "${NOPE:?gone}",
    "open_brace": "${",
    "invalid_template": "${1} ${} ${a b}",
    "dollar_escaped": "$${X}",
    "command": "$(touch pwned)",
    "dollar_in_bcrypt": "$2y$10$abcdefghijklmnopqrstuv",
    "dollar_quote": "$'a'",
    "trailing_dollar": "abc$",
    "hash": "#",
    "hash_after_blank": "a #b",
    "hash_inside": "a#b",
    "leading_hash": "#a",
    "equals": "=",
    "equals_inside": "a=b=c",
    "base64": "dGVzdA==",
    "colon": "a: b",
    "backtick": "`",
    "backtick_command": "`touch pwned`",
    "backtick_and_double_quote": '`a` "b"',
    "backtick_and_backslash": "`a\\nb`",
    "bang": "!",
    "bangs": "!! !x \"!\" '!'",
    "percent": "100% %s %(x)s %%",
    "ampersand": "a&b;c|d>e<f(g)",
    "glob": "* ? [a] {a,b}",
    "tilde": "~",
    "tilde_after_colon": "a:~/b",
    "export": "export A=b",
    "json": '{"a": ["b\\n", "$c"], "d": "it\'s"}',
    "url": "postgres://u:p%40ss@db:5432/x?sslmode=disable&a=b#frag",
    "yaml_words": "null",
    "yaml_bool": "no",
    "number": "0123",
    "float": "1e3",
    "yaml_tag": "!!binary x",
    "yaml_anchor": "*a &b",
    "dash": "- a",
    "unicode": "grüße, 世界",
    "emoji": "🙂👩‍👩‍👧",
    "combining": "e\u0301",
    "no_break_space": "\u00a0a\u00a0",
    "em_space": "\u2003a\u2003",
    "next_line": "\u0085a\u0085",
    "line_separator": "a\u2028b\u2029",
    "byte_order_mark": "\ufeffa",
    "zero_width": "\u200b",
    "right_to_left": "\u202eabc",
    "private_use": "\ue000\U0010ffff",
    "noncharacter": "\ufffe\uffff",
    "pem": "-----BEGIN X-----\nab/+=\n-----END X-----\n",
    "long": "x'\\$\n" * 6000,
    "long_bare": "a" * 32_768,
    "crontab": '*/5 * * * * root [ -x /a ] && /a "b" > /dev/null 2>&1 # `c`',
}
#: Neither bash nor compose has a way to write these that the other reads the same.
COMPOSE_ONLY = {
    "both": "it's `date`",
    "with_everything": "`'\"\\$\n#",
    "backtick_before_backslash_end": "`a\\",
}


def _written(values: dict[str, str]) -> tuple[bytes, list[str]]:
    edited = edit(b"", values, [])
    assert parse(edited.content).values == values
    return edited.content, edited.warnings


def test_hostile_values_read_back_exactly_in_compose_and_in_bash(tmp_path: Path) -> None:
    values = {f"K_{name}": value for name, value in HOSTILE.items()}
    content, warnings = _written(values)
    found = compose_reads(tmp_path, content, list(values))
    assert found["env_file"] == values
    assert found["dot_env"] == values
    assert bash_reads(tmp_path, content, list(values)) == values
    assert warnings == []
    assert not (tmp_path / "pwned").exists()


def test_compose_wins_with_a_warning_where_bash_cannot_have_the_value(tmp_path: Path) -> None:
    values = {f"K_{name}": value for name, value in COMPOSE_ONLY.items()}
    content, warnings = _written(values)
    found = compose_reads(tmp_path, content, list(values))
    assert found["env_file"] == values
    assert found["dot_env"] == values
    assert [warning.partition(":")[0] for warning in warnings] == list(values)


NASTY = st.text(st.sampled_from("'\"\\`$#=!{}()~ \t\n\r%:aAn01\u00a0é🙂&;*?[]-+.,/^|<>@"), max_size=12)
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(st.lists(NASTY | ANY, min_size=1, max_size=400))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_reads_back_exactly(texts: list[str]) -> None:
    values = {f"K{number}": text for number, text in enumerate(texts)}
    content, warnings = _written(values)
    warned = {warning.partition(":")[0] for warning in warnings}
    for_bash = [key for key in values if key not in warned]
    with tempfile.TemporaryDirectory() as name:
        found = compose_reads(Path(name), content, list(values))
        assert found["env_file"] == values
        assert found["dot_env"] == values
        bash_content, _ = _written({key: values[key] for key in for_bash})
        assert bash_reads(Path(name), bash_content, for_bash) == {key: values[key] for key in for_bash}
    assert all("`" in values[key] for key in warned)


@given(st.lists(NASTY, min_size=1, max_size=300), st.sampled_from(["single", "double"]))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_chosen_style_reads_back_exactly_in_compose(texts: list[str], style: str) -> None:
    values: dict[str, str] = {}
    for number, text in enumerate(texts):
        try:
            written = quoted(f"K{number}", text, style)  # type: ignore[arg-type]
        except LetsbeError as error:
            assert style == "single"
            assert error.code == "value_not_representable"  # noqa: PT017
            continue
        assert written[0] == written[-1] == {"single": "'", "double": '"'}[style]
        values[f"K{number}"] = text
    content = edit(b"", values, [], style).content  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as name:
        found = compose_reads(Path(name), content, list(values))
    assert found["env_file"] == values
    assert found["dot_env"] == values


@pytest.mark.parametrize(
    ("value", "style", "written"),
    [
        ("abc-1.2/x:y@z%,=+", "auto", "abc-1.2/x:y@z%,=+"),
        ("", "auto", ""),
        ("a b", "auto", "'a b'"),
        ("a'b", "auto", '"a\'b"'),
        ("a\\b", "auto", '"a\\\\b"'),
        ("`a\\b`", "auto", "'`a\\b`'"),
        ("a$b'", "auto", '"a\\$b\'"'),
        ("a\nb", "auto", "'a\nb'"),
        ("abc", "single", "'abc'"),
        ("a\\b", "single", "'a\\b'"),
        ("abc", "double", '"abc"'),
        ("", "double", '""'),
        ("abc", "bare", "abc"),
    ],
)
def test_the_plainest_form_that_works_is_written(value: str, style: str, written: str) -> None:
    assert quoted("K", value, style) == written  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "style"),
    [
        ("hunter2\0", "auto"),
        ("hunter2\udc80", "auto"),
        ("hunter2 x", "bare"),
        ("hunter2'", "single"),
        ("h\\", "single"),
    ],
    ids=["nul", "surrogate", "bare", "single_quote", "backslash_end"],
)
def test_a_value_that_cannot_be_written_is_refused_by_its_key(value: str, style: str) -> None:
    with pytest.raises(LetsbeError) as caught:
        quoted("API_KEY", value, style)  # type: ignore[arg-type]
    assert caught.value.code == "value_not_representable"
    assert "API_KEY" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint
