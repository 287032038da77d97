"""Unified diffs: applied by git they give the new content; secrets never show."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letsbe.tools.diff import unified_diff
from letsbe.tools.redaction import Redactor

_LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "", "x y"]), max_size=30).map("\n".join)
_KEY = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"


def diff(before: bytes | None, after: bytes | None, **options: int) -> str:
    return unified_diff(before, after, "f", Redactor(), **options).text


def test_shape() -> None:
    old = b"".join(b"line %d\n" % number for number in range(20))
    new = old.replace(b"line 10\n", b"line ten\nand more\n").replace(b"line 19\n", b"line 19")
    assert diff(old, new) == (
        "--- f\n+++ f\n@@ -8,7 +8,8 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n+and more\n line 11\n line 12\n"
        " line 13\n@@ -17,4 +18,4 @@\n line 16\n line 17\n line 18\n-line 19\n+line 19\n\\ No newline at end of file\n"
    )


@settings(max_examples=60, deadline=None)
@given(old=_LINES, new=_LINES)
def test_git_makes_the_new_content_of_it(old: str, new: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if old == new:
        assert diff(old.encode(), new.encode()) == ""
        return
    target: Path = tmp_path_factory.mktemp("apply") / "f"
    target.write_text(old)
    text = diff(old.encode(), new.encode())
    subprocess.run(["git", "apply", "-p0"], cwd=target.parent, input=text.encode(), check=True)
    assert target.read_text() == new


def test_new_and_removed_files() -> None:
    assert diff(None, b"a\n") == "--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+a\n"
    assert diff(b"a\n", None) == "--- f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"


def test_changed_secret_shows_as_a_change_without_its_value() -> None:
    text = diff(b"NAME=x\nDB_PASSWORD=hunter22\n", b"NAME=x\nDB_PASSWORD=correct-horse\n")
    assert "-DB_PASSWORD=[redacted]\n+DB_PASSWORD=[redacted]\n" in text
    assert "hunter" not in text
    assert "horse" not in text


def test_line_from_the_middle_of_a_private_key_is_covered() -> None:
    body = [f"MIIEvQIBADANBgkqhkiG9w0BAQ{number}" for number in range(30)]
    old = _KEY.format("\n".join(body))
    new = old.replace(body[15], "exchanged0")
    text = diff(old.encode(), new.encode())
    assert "MII" not in text
    assert "exchanged0" not in text
    assert "-[redacted]\n+[redacted]\n" in text


def test_value_met_elsewhere_is_covered() -> None:
    redactor = Redactor()
    redactor.meet("first half\nsecond half")
    text = unified_diff(b"a\n", b"a\nfirst half\nsecond half\n", "f", redactor).text
    assert text.endswith(" a\n+[redacted]\n+[redacted]\n")


def test_binary_is_only_named() -> None:
    assert diff(b"a\0b", b"text") == "binary contents of f differ\n"
    assert diff(b"\xff", None) == "binary contents of f differ\n"


def test_long_diff_is_cut_at_a_line() -> None:
    new = b"".join(b"line %d\n" % number for number in range(50_000))
    found = unified_diff(b"", new, "f", Redactor())
    assert found.truncated
    assert 60_000 < len(found.text) <= 65_536
    assert found.text.endswith("\n")


def test_large_rewritten_file_takes_no_quadratic_time() -> None:
    old = b"".join(b"%d\n" % number for number in range(100_000))
    new = b"".join(b"%d\n" % (number * 7) for number in range(100_000))
    assert unified_diff(old, new, "f", Redactor()).truncated
