"""Edits change what was asked and leave every other byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from letsbe.errors import LetsbeError
from letsbe.tools.dotenv import parse
from letsbe.tools.dotenv_edit import edit
from tests.env_oracles import bash_reads, compose_reads_files
from tests.test_tools.test_dotenv import FILES

EDITS = {
    "append": ("A=1\n", {"B": "2"}, "A=1\nB=2\n"),
    "append_to_empty": ("", {"B": "2", "A": "x y"}, "B=2\nA='x y'\n"),
    "append_without_final_newline": ("A=1", {"B": "2"}, "A=1\nB=2\n"),
    "append_after_comment_without_newline": ("# end", {"B": "2"}, "# end\nB=2\n"),
    "append_after_export_without_newline": ("export", {"B": "2"}, "export\nB=2\n"),
    "append_to_crlf": ("A=1\r\nC=3", {"B": "2"}, "A=1\r\nC=3\r\nB=2\r\n"),
    "change": ("A=1\nB=2\nC=3\n", {"B": "x"}, "A=1\nB=x\nC=3\n"),
    "change_last_without_newline": ("A=1\nB=2", {"B": "x"}, "A=1\nB=x"),
    "change_in_crlf": ("A=1\r\nB=2\r\n", {"A": "x"}, "A=x\r\nB=2\r\n"),
    "bom_stays": ("\ufeffA=1\nB=2\n", {"B": "x"}, "\ufeffA=1\nB=x\n"),
    "export_and_indentation_stay": ("  export  A=1\n", {"A": "x"}, "  export  A=x\n"),
    "comment_stays": ("A=1 # why\n", {"A": "x"}, "A=x # why\n"),
    "comment_stays_behind_quotes": ("A='1'   # why\n", {"A": "x y"}, "A='x y'   # why\n"),
    "comment_stays_behind_empty": ("A=1 # why\n", {"A": ""}, "A='' # why\n"),
    "comment_directly_behind_quotes": ("A='1'# why\n", {"A": "x"}, "A=x # why\n"),
    "other_lines_stay_odd": ("a : 1\n\t\n##\nB =  2  \n\n\nC", {"B": "x"}, "a : 1\n\t\n##\nB=x  \n\n\nC"),
    "yaml_style_becomes_assignment": ("A: 1\n", {"A": "x"}, "A=x\n"),
    "multiline_becomes_bare": ("A='1\n2\n3'\nB=2\n", {"A": "x"}, "A=x\nB=2\n"),
    "bare_becomes_multiline": ("A=1\nB=2\n", {"A": "1\n2"}, "A='1\n2'\nB=2\n"),
    "bare_name_gets_a_value": ("A\nB=2\n", {"A": "x"}, "A=x\nB=2\n"),
    "exported_name_gets_a_value": ("export A\n", {"A": "x"}, "export A=x\n"),
    "reference_becomes_literal": ("A=1\nB=$A\n", {"B": "1"}, "A=1\nB=1\n"),
    "last_duplicate_counts": ("A=1\nA=2\nB=3\n", {"A": "x"}, "A=1\nA=x\nB=3\n"),
    "two_on_one_line": ("A='1' B=2\n", {"A": "x"}, "A='x' B=2\n"),
    "two_on_one_line_touching": ("A='1'B=2\n", {"A": "x"}, "A='x' B=2\n"),
    "second_on_one_line": ("A='1' B=2\n", {"B": "x"}, "A='1' B=x\n"),
    "commented_out_is_no_key": ("#A=1\n", {"A": "x"}, "#A=1\nA=x\n"),
    "inside_quotes_is_no_key": ("B='\nA=1\n'\n", {"A": "x"}, "B='\nA=1\n'\nA=x\n"),
    "same_value": ("A = '1' # c\nB=\"x\\ty\"\n", {"A": "1", "B": "x\ty"}, "A = '1' # c\nB=\"x\\ty\"\n"),
    "prefix_is_another_key": ("AB=1\nA=2\n", {"A": "x"}, "AB=1\nA=x\n"),
}


@pytest.mark.parametrize(("before", "assign", "after"), EDITS.values(), ids=EDITS)
def test_set(before: str, assign: dict[str, str], after: str) -> None:
    assert edit(before.encode(), assign, []).content == after.encode()


UNSETS = {
    "line": ("A=1\nB=2\nC=3\n", ["B"], "A=1\nC=3\n"),
    "with_its_comment": ("A=1 # a\nB=2 # b\n", ["A"], "B=2 # b\n"),
    "last_without_newline": ("A=1\nB=2", ["B"], "A=1\n"),
    "every_duplicate": ("A=1\nB=2\nexport A=3\n", ["A"], "B=2\n"),
    "multiline": ("A='1\n2'\nB=2\n", ["A"], "B=2\n"),
    "crlf": ("A=1\r\nB=2\r\n", ["A"], "B=2\r\n"),
    "first_behind_bom": ("\ufeffA=1\nB=2\n", ["A"], "\ufeffB=2\n"),
    "bare_name": ("A\nB=2\n", ["A"], "B=2\n"),
    "first_on_one_line": ("A='1' B=2\n", ["A"], "B=2\n"),
    "second_on_one_line": ("A='1' B=2 # c\n", ["B"], "A='1' # c\n"),
    "both_on_one_line": ("A='1' B='2' C=3\n", ["A", "B"], "C=3\n"),
    "absent": ("A=1\n", ["B"], "A=1\n"),
    "comments_above_stay": ("# about A\nA=1\n\n", ["A"], "# about A\n\n"),
}


@pytest.mark.parametrize(("before", "unset", "after"), UNSETS.values(), ids=UNSETS)
def test_unset(before: str, unset: list[str], after: str) -> None:
    assert edit(before.encode(), {}, unset).content == after.encode()


def test_it_tells_what_it_did_to_each_key() -> None:
    content = b"A=1\nB=2\nC=3\nURL=http://$A/\nE=$MISSING\n"
    done = edit(content, {"A": "x", "B": "2", "NEW": "n"}, ["C", "GONE"])
    assert done.added == ["NEW"]
    assert done.changed == ["A"]
    assert done.unchanged == ["B", "GONE"]
    assert done.removed == ["C"]
    assert done.dependents == ["URL"]


def test_bytes_that_are_no_utf8_stay() -> None:
    assert edit(b"# caf\xe9\nA=\xff\nB=2\n", {"B": "x"}, []).content == b"# caf\xe9\nA=\xff\nB=x\n"


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        (b"A=1\nB=2\nA=3\n", "A", "lines 1, 3"),
        (b"A=1\r\n", "A", "CRLF"),
        (b"", "UID", "bash keeps this name"),
    ],
    ids=["duplicate", "crlf", "name"],
)
def test_it_warns(content: bytes, key: str, says: str) -> None:
    (warning,) = edit(content, {key: "x"}, []).warnings
    assert key in warning
    assert says in warning


def test_a_file_that_compose_refuses_is_not_edited() -> None:
    with pytest.raises(LetsbeError) as caught:
        edit(b"A=1\nB C=hunter2\n", {"A": "x"}, [])
    assert caught.value.code == "env_syntax"
    assert caught.value.details == {"line": 2}
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("written", ["'", "y\nB=hunter2", "y"], ids=["breaks_the_file", "changes_another_key", "wrong"])
def test_what_would_not_read_back_is_never_given_out(written: str, mocker: MockerFixture) -> None:
    mocker.patch("letsbe.tools.dotenv_edit.quoted", return_value=written)
    with pytest.raises(LetsbeError) as caught:
        edit(b"A=1\nB=2\n", {"A": "x"}, [])
    assert caught.value.code == "env_edit_failed"
    assert "hunter2" not in str(caught.value)


VALUES = st.text(st.sampled_from("'\"\\`$#= \n\raé"), max_size=6)


@given(st.lists(st.tuples(FILES, VALUES), min_size=20, max_size=120))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_compose_reads_the_new_values_and_all_others_as_before(cases: list[tuple[bytes, str]]) -> None:
    old: list[bytes] = []
    new: list[bytes] = []
    wanted: list[str] = []
    for content, value in cases:
        if not parse(content).problems:
            done = edit(content, {"A": value, "NEW": "1"}, ["K"])
            old.append(content)
            new.append(done.content)
            wanted.append(value)
    with tempfile.TemporaryDirectory() as name:
        before = compose_reads_files(Path(name), old)
        after = compose_reads_files(Path(name), new)
    assert not isinstance(before, str), before
    assert not isinstance(after, str), after
    for was, now, value, content in zip(before, after, wanted, new, strict=True):
        assert now.pop("A") == value
        assert now.pop("NEW") == "1"
        assert "K" not in now
        unrelated = {one.key for one in parse(content).statements if not one.refers}
        assert {key: now[key] for key in now if key in unrelated} == {
            key: was[key] for key in was if key in unrelated - {"A", "NEW", "K"}
        }


def test_bash_reads_edited_lines(tmp_path: Path) -> None:
    content = b"# c\nexport A=1 # one\nB = 2\nC='x' # y\nD=\"a\nb\" # z\n"
    values = {"A": "it's #1", "B": "b c", "C": "", "D": "$x `y`"}
    assert bash_reads(tmp_path, edit(content, values, []).content, list(values)) == values
