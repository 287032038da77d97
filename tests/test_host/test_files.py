"""Reaching files below a root: what is followed, what is refused, and what is said then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.files import Files

pytestmark = pytest.mark.usefixtures("way")

MANY = 1 << 20


def read(files: Files, path: Path | str) -> bytes:
    return files.read(str(path), max_bytes=MANY).content


def refusal(action: Callable[[], object]) -> LetsbeError:
    with pytest.raises(LetsbeError) as caught:
        action()
    assert caught.value.hint
    return caught.value


def test_reads_what_was_written_with_its_status(files: Files, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    files.write(f"{root}/a/b/file", b"content", perms=0o640)
    found = files.read(f"{root}/a//b/./file", max_bytes=7)
    assert found.content == b"content"
    assert found.sha256 == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert found.stat.path == f"{root}/a/b/file"
    assert (found.stat.mode, found.stat.size, found.stat.links) == (0o640, 7, 1)


def test_missing_file(files: Files, root: Path) -> None:
    assert files.read_or_none(f"{root}/none", max_bytes=1) is None
    assert files.read_or_none(f"{root}/no/such/file", max_bytes=1) is None
    for action in (lambda: read(files, root / "none"), lambda: files.stat(f"{root}/none")):
        error = refusal(action)
        assert error.code == "file_not_found"
        assert f"{root}/none" in error.message


def test_file_that_is_too_large(files: Files, root: Path) -> None:
    (root / "large").write_bytes(b"x" * 1001)
    error = refusal(lambda: files.read(f"{root}/large", max_bytes=1000))
    assert error.code == "file_too_large"
    assert "1001" in error.message


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("file", "not an absolute path"),
        ("", "not an absolute path"),
        ("{root}/../outside/file", "`..` is not followed"),
        ("{root}/a/../file", "`..` is not followed"),
        ("{outside}/file", "not below an allowed root"),
        ("{root}x/file", "not below an allowed root"),
        ("/", "not below an allowed root"),
        ("{root}/a\0b", "NUL"),
        ("{root}/a\nb", "newline"),
        ("{root}/a\x1b[31mb", "control character"),
        ("{root}/a\udcffb", "not UTF-8"),
        ("{root}/" + "n" * 256, "255 bytes"),
        ("{root}/" + "ü" * 128, "255 bytes"),
        ("{root}" + "/name" * 819, "4095 bytes"),
        ("{root}/" + "n" * 4096, "4095 bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refused_by_its_spelling(spelling: str, reason: str, files: Files, root: Path, outside: Path) -> None:
    path = spelling.format(root=root, outside=outside)
    for action in (
        lambda: files.read(path, max_bytes=MANY),
        lambda: files.write(path, b"x"),
        lambda: files.remove(path),
        lambda: files.stat(path),
        lambda: files.list(path, 1, 1),
        lambda: files.canonical(path),
        lambda: files.make_parents(path),
    ):
        error = refusal(action)
        assert error.code == "path_refused"
        assert error.status == "refused"
        assert reason in error.message
        assert "\n" not in error.message
        assert "\x1b" not in error.message
        assert len(error.message) < 800
    assert (outside / "file").read_bytes() == b"outside"
    assert os.listdir(root) == []


def test_longest_names_and_paths_work(files: Files, root: Path) -> None:
    name = "n" * 255
    files.write(f"{root}/{name}", b"long")
    assert read(files, root / name) == b"long"
    files.write(f"{root}/{'ü' * 127}", b"long too")
    deep = str(root)
    while len(deep) + 201 <= 4095 - 10:
        deep += "/" + "d" * 200
    made = files.make_parents(f"{deep}/file")
    assert len(made) == deep.count("/" + "d" * 200)
    files.write(f"{deep}/file", b"deep")
    assert read(files, f"{deep}/file") == b"deep"


def test_symlinks_are_followed_while_they_stay_below(files: Files, root: Path) -> None:
    (root / "real" / "deeper").mkdir(parents=True)
    (root / "real" / "file").write_bytes(b"content")
    links = {
        "relative": "real/file",
        "absolute": f"{root}/real/file",
        "directory": "real",
        "up": "real/deeper/../file",
        "out_and_back": f"../{root.name}/real/file",
        "chain": "relative",
        "dotted": "./real/./deeper/.././file",
        "trailing": "real/",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    for name in ("relative", "absolute", "directory/file", "up", "out_and_back", "chain", "dotted", "trailing/file"):
        assert read(files, root / name) == b"content", name
        assert files.canonical(f"{root}/{name}") == f"{root}/real/file"
    assert files.canonical(f"{root}/directory/not/there") == f"{root}/real/not/there"
    assert files.stat(f"{root}/relative").type == "file"
    assert files.stat(f"{root}/relative", follow=False).type == "symlink"
    assert files.canonical(f"{root}/real/deeper/..".removesuffix("/..")) == f"{root}/real/deeper"


def test_symlink_into_another_root_is_followed(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_bytes(b"there")
    (root / "absolute").symlink_to(other / "file")
    (root / "relative").symlink_to("../other")
    files = Files([str(root), str(other)])
    assert read(files, root / "absolute") == b"there"
    assert read(files, root / "relative" / "file") == b"there"
    files.write(f"{root}/absolute", b"written")
    assert (other / "file").read_bytes() == b"written"
    assert (root / "absolute").is_symlink()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("file", "{outside}/file"),
        ("file", "../outside/file"),
        ("file", "{root}/../outside/file"),
        ("file", "inner/../../outside/file"),
        ("directory", "{outside}"),
        ("directory", "../outside"),
        ("first", "second"),
        ("proc", "/proc/self/root{outside}"),
        ("shadow", "/etc/shadow"),
    ],
)
def test_symlink_that_leads_out_is_refused(name: str, target: str, files: Files, root: Path, outside: Path) -> None:
    (root / "inner").mkdir()
    (root / "second").symlink_to(outside)
    (root / name).symlink_to(target.format(root=root, outside=outside))
    path = f"{root}/{name}" + ("" if name in ("file", "shadow") else "/file")
    for action in (
        lambda: files.read(path, max_bytes=MANY),
        lambda: files.write(path, b"x"),
        lambda: files.write(path, b"x", in_place=True),
        lambda: files.stat(path),
        lambda: files.list(f"{root}/{name}", 1, 1),
        lambda: files.make_parents(f"{path}/x/y"),
    ):
        error = refusal(action)
        assert error.code == "path_refused"
        assert "symlink" in error.message
    assert sorted(os.listdir(outside)) == ["file"]
    assert (outside / "file").read_bytes() == b"outside"


@pytest.mark.parametrize("target", [b"odd\nname", b"not utf-8 \xff"])
def test_symlink_to_a_name_that_no_outcome_may_hold_is_refused(target: bytes, files: Files, root: Path) -> None:
    (root / os.fsdecode(target)).write_bytes(b"x")
    (root / "link").symlink_to(os.fsdecode(target))
    assert refusal(lambda: read(files, root / "link")).code == "path_refused"


def test_repeated_slashes_and_dots_mean_nothing(files: Files, root: Path) -> None:
    files.write(f"/{root}//./file", b"x")
    assert files.canonical(f"//{root}/file/") == f"{root}/file"
    assert Files([f"{root}/"]).canonical(f"{root}/file") == f"{root}/file"
    assert Files(["/"]).canonical(f"{root}/file") == f"{root}/file"


def test_symlink_loop_is_refused(files: Files, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    error = refusal(lambda: read(files, root / "a"))
    assert error.code == "path_refused"
    assert "40 symlinks" in error.message


def test_root_that_is_a_symlink_is_known_by_both_names(tmp_path: Path, root: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    files = Files([str(alias)])
    files.write(f"{alias}/file", b"x")
    assert read(files, root / "file") == b"x"
    assert files.canonical(f"{alias}/file") == files.canonical(f"{root}/file") == f"{root}/file"


def test_root_inside_a_root_is_not_followed_when_it_becomes_a_symlink(root: Path, outside: Path) -> None:
    (root / "inner").symlink_to(outside)
    files = Files([str(root), f"{root}/inner"])
    assert refusal(lambda: read(files, root / "inner" / "file")).code == "path_refused"


def test_missing_root_is_told(tmp_path: Path) -> None:
    error = refusal(lambda: Files([str(tmp_path / "gone")]).write(f"{tmp_path}/gone/file", b"x"))
    assert error.code == "root_missing"
    assert f"{tmp_path}/gone" in error.message


def test_no_root_allows_nothing() -> None:
    assert "none is configured" in refusal(lambda: Files([]).stat("/etc/passwd")).message


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    # a socket's address is short; its directory is reached by a descriptor
    directory = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


def make_device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # what /dev/zero is


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (make_fifo, "fifo"),
        (make_socket, "socket"),
        (make_device, "char device"),
        (Path.mkdir, "directory"),
    ],
    ids=["fifo", "socket", "device", "directory"],
)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], word: str, files: Files, root: Path) -> None:
    path = root / "thing"
    make(path)
    for action in (
        lambda: read(files, path),
        lambda: files.write(str(path), b"x"),
        lambda: files.write(str(path), b"x", in_place=True),
        lambda: files.remove(str(path)),
        lambda: files.open(str(path)).__enter__(),
    ):
        error = refusal(action)
        assert error.code == "path_refused"
        assert f"is a {word}, not a file" in error.message
    assert files.stat(str(path)).type == word.replace(" ", "_")
    assert os.listdir(root) == ["thing"]


def test_hard_link_is_refused(files: Files, root: Path, outside: Path) -> None:
    os.link(outside / "file", root / "file")
    for action in (
        lambda: read(files, root / "file"),
        lambda: files.write(f"{root}/file", b"x"),
        lambda: files.write(f"{root}/file", b"x", in_place=True),
        lambda: files.remove(f"{root}/file"),
    ):
        error = refusal(action)
        assert error.code == "path_refused"
        assert "2 hard links" in error.message
    assert (outside / "file").read_bytes() == b"outside"


def test_files_of_the_kernel_are_refused() -> None:
    files = Files(["/proc", "/sys"])
    for path in ("/proc/self/environ", "/proc/uptime", "/sys/kernel/uevent_seqnum"):
        error = refusal(lambda path=path: read(files, path))  # type: ignore[misc]
        assert error.code == "path_refused"
        assert "kernel's" in error.message


def test_file_in_the_way_of_a_directory(files: Files, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    error = refusal(lambda: files.write(f"{root}/file/inside", b"x"))
    assert error.code == "not_a_directory"
    assert f"{root}/file is no directory" in error.message


def test_listing_is_sorted_bounded_and_follows_nothing(files: Files, root: Path, outside: Path) -> None:
    (root / "b" / "deep" / "deeper").mkdir(parents=True)
    (root / "a").write_bytes(b"12")
    (root / "b" / "c").write_bytes(b"")
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    found = files.list(str(root), 2, 100)
    assert [(entry.path, entry.type) for entry in found] == [
        ("a", "file"),
        ("b", "directory"),
        ("b/c", "file"),
        ("b/deep", "directory"),
        ("link", "symlink"),
        ("pipe", "fifo"),
    ]
    assert [entry.path for entry in files.list(str(root), 1, 100)] == ["a", "b", "link", "pipe"]
    assert [entry.path for entry in files.list(str(root), 9, 3)] == ["a", "b", "b/c"]
    assert [entry.path for entry in files.list(f"{root}/b", 1, 100)] == ["c", "deep"]


def test_open_file_reads_what_was_opened_though_it_is_replaced(files: Files, root: Path) -> None:
    (root / "file").write_bytes(b"0123456789")
    with files.open(f"{root}/file") as opened:
        files.write(f"{root}/file", b"another")
        assert opened.size == 10
        assert opened.pread(3, 4) == b"3456"
        assert opened.pread(8, 100) == b"89"
        assert opened.pread(100, 1) == b""


def test_descriptors_are_closed(files: Files, root: Path) -> None:
    (root / "link").symlink_to("a/b/../b")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        files.make_parents(f"{root}/a/b/file")
        files.write(f"{root}/link/file", b"%d" % number)
        files.list(str(root), 3, 100)
        with pytest.raises(LetsbeError):
            files.read(f"{root}/a/b/../c", max_bytes=1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_ctypes_is_only_loaded_when_a_path_is_walked() -> None:
    script = "import sys, letsbe.host.files; print('ctypes' in sys.modules, 'hashlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"False"]
