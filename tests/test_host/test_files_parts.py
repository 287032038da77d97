"""Only parts of the roots: whatever leads out of them is refused, also while somebody exchanges directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.files import Files
from tests.test_host.test_files_race import exchanging, outcomes

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def parts(root: Path) -> Files:
    for name in ("a/inner", "ab", "b"):
        (root / name).mkdir(parents=True)
    (root / "b" / "file").write_bytes(b"not yours")
    (root / "a" / "out").symlink_to("../b")
    (root / "a" / "in").symlink_to("inner")
    (root / "a" / "around").symlink_to("../a/inner")
    (root / "shortcut").symlink_to("a")
    return Files([str(root)], only=[f"{root}/a"])


@pytest.mark.parametrize("path", ["new", "inner/new", "in/new", "around/new"])
def test_inside_a_part_everything_works(parts: Files, root: Path, path: str) -> None:
    parts.write(f"{root}/a/{path}", b"x")
    assert parts.read(f"{root}/a/{path}", max_bytes=10).content == b"x"
    assert parts.roots == (f"{root}/a",)
    assert parts.without_recorder().roots == parts.roots


@pytest.mark.parametrize(
    "path", ["b/file", "b/no-such", "ab/new", "a/out/file", "a/out/no-such", "shortcut/new", "new", "a/../b/file"]
)
def test_outside_nothing_does(parts: Files, root: Path, path: str) -> None:
    for act in (
        lambda: parts.write(f"{root}/{path}", b"x"),
        lambda: parts.read_or_none(f"{root}/{path}", max_bytes=10),
        lambda: parts.remove(f"{root}/{path}"),
        lambda: parts.stat(f"{root}/{path}"),
        lambda: parts.canonical(f"{root}/{path}"),
    ):
        with pytest.raises(LetsbeError) as refused:
            act()
        assert refused.value.code == "path_refused"
    assert (root / "b" / "file").read_bytes() == b"not yours"


def test_a_root_known_by_two_names_has_its_parts_under_both(tmp_path: Path, parts: Files, root: Path) -> None:
    assert parts.exists(f"{root}/a/inner")
    (tmp_path / "name").symlink_to(root)
    named = Files([str(tmp_path / "name")], only=[str(tmp_path / "name" / "a")])
    named.write(f"{tmp_path}/name/a/x", b"x")
    assert named.read(f"{root}/a/x", max_bytes=1).content == b"x"
    with pytest.raises(LetsbeError):
        named.stat(f"{root}/b")


def test_a_directory_exchanged_for_a_link_out_of_the_part_leads_nowhere(parts: Files, root: Path) -> None:
    with exchanging(root / "a" / "inner", root / "a" / "out"):
        found = outcomes(300, lambda number: parts.write(f"{root}/a/inner/{number}", b"x"))
    assert found["done"]
    assert found["path_refused"]
    assert [entry.name for entry in (root / "b").iterdir()] == ["file"]
