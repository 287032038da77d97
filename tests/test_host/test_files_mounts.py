"""Files on real file systems that are full, read-only, without a size, or the kernel's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.files import Files

Mount = Callable[..., Path]
MIB = 1 << 20


@pytest.fixture
def mount(root: Path) -> Iterator[Mount]:
    """Mounts a file system at ``root/mounted``."""
    target = root / "mounted"
    target.mkdir()
    mounted: list[Path] = []

    def at(kind: str, options: str = "rw") -> Path:
        subprocess.run(["mount", "-t", kind, "-o", options, "letsbe-test", str(target)], check=True)
        mounted.append(target)
        return target

    yield at
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


def error_of(action: Callable[[], object]) -> LetsbeError:
    with pytest.raises(LetsbeError) as caught:
        action()
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("in_place", [False, True])
def test_full_disk_leaves_the_old_content(in_place: bool, mount: Mount, files: Files) -> None:
    path = mount("tmpfs", f"size={MIB}") / "file"
    old = b"old content " * 30_000
    files.write(str(path), old)
    inode = path.stat().st_ino
    error = error_of(lambda: files.write(str(path), b"NEW" * MIB, in_place=in_place))
    assert error.code == "disk_full"
    assert str(path) in error.message
    assert path.read_bytes() == old
    assert path.stat().st_ino == inode
    assert os.listdir(path.parent) == ["file"]


def test_read_only_file_system_is_told_before_any_effect(mount: Mount, files: Files, root: Path) -> None:
    path = mount("tmpfs") / "file"
    path.write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
    for action in (
        lambda: files.write(str(path), b"new"),
        lambda: files.write(str(path), b"new", in_place=True),
        lambda: files.write(str(path), b"old", perms=0o611),
        lambda: files.remove(str(path)),
        lambda: files.make_parents(f"{path.parent}/a/file"),
        lambda: Files([str(root)], check=True).write(str(path), b"new"),
    ):
        assert error_of(action).code == "read_only_filesystem"
    assert files.read(str(path), max_bytes=9).content == b"old"


def test_file_system_without_a_size_is_a_real_one(mount: Mount, files: Files) -> None:
    path = mount("tmpfs", "size=0") / "file"
    assert os.statvfs(path.parent).f_blocks == 0
    files.write(str(path), b"x")
    assert files.read(str(path), max_bytes=9).content == b"x"


def test_file_system_of_the_kernel_below_a_root_is_refused(mount: Mount, files: Files) -> None:
    path = mount("proc")
    for action in (
        lambda: files.read(f"{path}/uptime", max_bytes=99),
        lambda: files.write(f"{path}/sys/vm/swappiness", b"60"),
        lambda: files.write(f"{path}/new", b""),
        lambda: files.make_parents(f"{path}/new/file"),
    ):
        error = error_of(action)
        assert error.code == "path_refused"
        assert "kernel's proc" in error.message
