"""The grammar of env files is compose's: its own fixtures, and compose itself, are the oracles."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letsbe.tools.dotenv import parse
from tests.env_oracles import compose_reads_files

FIXTURES = Path("../shared/corpora/dotenv")


def test_every_fixture_of_compose_reads_as_in_compose(tmp_path: Path) -> None:
    files = sorted(path for path in FIXTURES.glob("*.env") if path.name != "invalid1.env")
    assert len(files) >= 11
    contents = [path.read_bytes() for path in files]
    found = compose_reads_files(tmp_path, contents)
    assert found == [parse(content).values for content in contents]
    assert not any(parse(content).problems for content in contents)


def test_the_invalid_fixture_is_refused_at_its_line() -> None:
    env = parse((FIXTURES / "invalid1.env").read_bytes())
    assert [problem.line for problem in env.problems] == [7]
    assert env.values["zot"] == "qix"  # reading goes on


TOKENS = [
    *("A", "B", "KEY", "=", "=", ":", " ", "\t", "\n", "\n", "\r\n", "'", '"', "\\", "\\\\", "\\n", "\\t", "\\0"),
    *("\\012", "\\0101", "\\0777", '\\"', "\\'", "$", "$$", "${A}", "${B:-x}", "${C-", "}", "{", "${", "$A", "#"),
    *(" #", "export ", "export", "é", "１", "-", ".", "[", "]", "\u00a0", "\u2003", "\v", "\u0085", "\x1c", "1"),
    *("`", "!", "${A:?e}", "${B+z}", "${B:+z}", "${A:-{}}", "${A:-${B:-$C}}", "\\a", "\\c", "\\$", "~", "/"),
    *("K=v\n", "K='q'\n", 'J="w"\n', "L=$A\n", "A='", 'B="', "' # c\n", '"\n', "\ufeff"),
]
FILES = st.lists(st.sampled_from(TOKENS), max_size=24).map(lambda tokens: "".join(tokens).encode())


@given(st.lists(FILES, min_size=20, max_size=200))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_accepted_reads_as_in_compose(contents: list[bytes]) -> None:
    accepted = [content for content in contents if not parse(content).problems]
    with tempfile.TemporaryDirectory() as name:
        found = compose_reads_files(Path(name), accepted) if accepted else []
    assert found == [parse(content).values for content in accepted]


REFUSED = {
    "quoted_key": b"'a'=b\n",
    "space_in_key": b"A B=c\n",
    "no_assignment": b"hello world\n",
    "unterminated_double": b'A="b\n',
    "unterminated_single": b"A='b\\'\n",
    "invalid_template": b"A=${\n",
    "unclosed_template": b'A="${B:-c"\n',
    "required_variable": b"A=${B:?gone}\n",
    "bad_character": b"A*=b\n",
    "comment_after_name": b"A # b\n",
    "export_without_name": b"A=b\nexport ",
    "byte_that_is_no_utf8_in_key": b"\xff=b\n",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_by_compose(content: bytes, tmp_path: Path) -> None:
    assert parse(content).problems
    assert isinstance(compose_reads_files(tmp_path, [content]), str)


def test_problems_come_with_their_line_and_quote_no_value() -> None:
    content = b"A=1\n\n# c\nX Y=hunter2\nB=2\n'q'=hunter2\nC='multi\nline'\nD=\"hunter2\n"
    env = parse(content)
    assert [problem.line for problem in env.problems] == [4, 6, 9]
    assert "hunter2" not in repr(env.problems)
    assert env.values == {"A": "1", "B": "2", "C": "multi\nline"}


def test_statements_know_their_line_and_form() -> None:
    env = parse(b"\xef\xbb\xbf# c\nexport A = 1 # one\nB=\"x\ny\"\nC\nD='$A'\nE=${A}z\n")
    assert env.bom
    assert [(one.key, one.line, one.quote, one.inherited, one.refers, one.value) for one in env.statements] == [
        ("A", 2, "", False, (), "1"),
        ("B", 3, '"', False, (), "x\ny"),
        ("C", 5, "", True, (), None),
        ("D", 6, "'", False, (), "$A"),
        ("E", 7, "", False, ("A",), "1z"),
    ]


def test_the_environment_wins_over_the_file() -> None:
    outside = {"A": "outer", "C": "inherited"}
    assert parse(b"A=1\nB=$A\nC\n", outside.get).values == {"A": "1", "B": "outer", "C": "inherited"}


@pytest.mark.parametrize(
    "content",
    [
        b"".join(b"K%06d='some value' # c\n" % number for number in range(40_000)),
        b"\xc2\xa0" * 500_000,
        b"A='" + b"\\'" * 500_000,
        b"A=" + b"${B:-" * 200_000,
        b"A=" + b"$" * 1_000_000,
        b"A B=\n" * 170_000,
        b"A" * 1_000_000,
    ],
    ids=["assignments", "blanks", "escapes", "open_templates", "dollars", "problems", "one_name"],
)
def test_a_mebibyte_is_read_in_seconds(content: bytes) -> None:
    started = time.process_time()
    parse(content)
    assert time.process_time() - started < 8
