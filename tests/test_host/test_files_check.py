"""Check mode: nothing is changed, and later reads see what would have been."""

from __future__ import annotations

from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.files import Files
from tests.agents import tree
from tests.test_host.conftest import Recorder

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def checked(root: Path, recorder: Recorder) -> Files:
    return Files([str(root)], recorder, check=True)


def test_reads_give_what_would_have_been_written(checked: Files, root: Path, recorder: Recorder) -> None:
    (root / "old").write_bytes(b"old")
    (root / "old").chmod(0o640)
    (root / "link").symlink_to("old")
    before = tree(root)
    assert checked.write(f"{root}/link", b"changed").changed
    assert checked.write(f"{root}/new", b"made", perms=0o644, owner=(12, 34)).changed
    assert checked.read(f"{root}/old", max_bytes=99).content == b"changed"
    assert checked.stat(f"{root}/old").mode == 0o640
    made = checked.stat(f"{root}/new")
    assert (made.size, made.mode, made.uid, made.gid, made.type) == (4, 0o644, 12, 34, "file")
    with checked.open(f"{root}/new") as opened:
        assert opened.pread(1, 2) == b"ad"
        assert opened.size == 4
    assert not checked.write(f"{root}/new", b"made", perms=0o644, owner=(12, 34)).changed
    assert checked.write(f"{root}/new", b"made again").before_sha256 == made_sha256()
    assert tree(root) == before
    assert recorder.pending == []


def made_sha256() -> str:
    from hashlib import sha256

    return sha256(b"made").hexdigest()


def test_removed_file_is_gone_for_later_reads(checked: Files, root: Path) -> None:
    (root / "file").write_bytes(b"old")
    assert checked.remove(f"{root}/file").changed
    assert not checked.remove(f"{root}/file").changed
    assert checked.read_or_none(f"{root}/file", max_bytes=9) is None
    for action in (lambda: checked.stat(f"{root}/file"), lambda: checked.open(f"{root}/file").__enter__()):
        with pytest.raises(LetsbeError, match="file_not_found"):
            action()
    assert checked.write(f"{root}/file", b"again").before_sha256 is None
    assert (root / "file").read_bytes() == b"old"


def test_listing_shows_what_would_be_there(checked: Files, root: Path) -> None:
    (root / "a").write_bytes(b"")
    (root / "z").write_bytes(b"")
    checked.remove(f"{root}/a")
    checked.write(f"{root}/b", b"123")
    assert [(entry.path, entry.size) for entry in checked.list(str(root), 1, 9)] == [("b", 3), ("z", 0)]
    assert [entry.path for entry in checked.list(str(root), 1, 1)] == ["b"]


def test_directories_that_would_be_made(checked: Files, root: Path) -> None:
    with pytest.raises(LetsbeError, match="directory_missing"):
        checked.write(f"{root}/a/b/file", b"x")
    assert checked.make_parents(f"{root}/a/b/file") == (f"{root}/a", f"{root}/a/b")
    assert checked.make_parents(f"{root}/a/b/c/file") == (f"{root}/a/b/c",)
    assert checked.write(f"{root}/a/b/file", b"x").changed
    assert checked.read(f"{root}/a/b/file", max_bytes=9).content == b"x"
    with pytest.raises(LetsbeError, match="directory_missing"):
        checked.write(f"{root}/a/other/file", b"x")
    assert list(root.iterdir()) == []


def test_what_would_fail_fails(checked: Files, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "file")
    (root / "directory").mkdir()
    for path in ("link", "directory"):
        with pytest.raises(LetsbeError, match="path_refused"):
            checked.write(f"{root}/{path}", b"x")


def test_limit_counts_for_what_would_have_been_written(checked: Files, root: Path) -> None:
    checked.write(f"{root}/file", b"12345")
    with pytest.raises(LetsbeError, match="file_too_large"):
        checked.read(f"{root}/file", max_bytes=4)


def test_candidate_and_leftovers_are_not_touched(checked: Files, root: Path) -> None:
    left = root / ".file.letsbe-0123456789abcdef"
    left.write_bytes(b"left")
    with checked.candidate(f"{root}/file", b"x") as candidate:
        assert candidate is None
    checked.remove_temporary(str(left))
    assert list(root.iterdir()) == [left]


def test_undo_gets_files_that_do_change_things(checked: Files, root: Path) -> None:
    checked.without_recorder().write(f"{root}/file", b"x")
    assert (root / "file").read_bytes() == b"x"
