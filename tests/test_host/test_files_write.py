"""Writing: whole or not at all, told before the first effect, with owner, mode and attributes kept."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from letsbe.errors import LetsbeError
from letsbe.host import replacing
from letsbe.host.files import ANY, Files
from tests.test_host.conftest import Recorder, content_of

pytestmark = pytest.mark.usefixtures("way")


def recorded(root: Path, recorder: Recorder) -> Files:
    return Files([str(root)], recorder)


def test_new_file(root: Path, recorder: Recorder) -> None:
    change = recorded(root, recorder).write(f"{root}/file", b"new", perms=0o644)
    assert change.changed
    assert (change.path, change.before_sha256) == (f"{root}/file", None)
    assert change.after_sha256 == "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o644
    assert os.listdir(root) == ["file"]


def test_mode_of_a_new_file_is_private_unless_given(files: Files, root: Path) -> None:
    before = os.umask(0)
    try:
        files.write(f"{root}/file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o600


def test_recorder_knows_before_the_first_effect(root: Path, recorder: Recorder) -> None:
    (root / "file").write_bytes(b"old")
    recorded(root, recorder).write(f"{root}/file", b"new")
    (pending,) = recorder.pending
    assert (pending.path, content_of(pending.before)) == (f"{root}/file", b"old")
    assert pending.after_sha256 == "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
    assert pending.temp_path is not None
    assert replacing.is_temporary_name(os.path.basename(pending.temp_path))
    assert os.path.dirname(pending.temp_path) == str(root)
    assert recorder.seen == [{"file": b"old"}, {"file": b"new"}]
    assert recorder.done == [1]


@pytest.mark.parametrize("in_place", [False, True])
def test_same_content_touches_nothing(in_place: bool, root: Path, recorder: Recorder) -> None:
    (root / "file").write_bytes(b"same")
    before = (root / "file").stat()
    mode = stat.S_IMODE(before.st_mode)
    files = recorded(root, recorder)
    change = files.write(f"{root}/file", b"same", perms=mode, owner=(before.st_uid, before.st_gid), in_place=in_place)
    assert not change.changed
    assert change.before_sha256 == change.after_sha256
    assert (root / "file").stat() == before
    assert recorder.pending == []


def test_another_mode_or_owner_alone_keeps_the_inode(root: Path, recorder: Recorder) -> None:
    (root / "file").write_bytes(b"same")
    inode = (root / "file").stat().st_ino
    change = recorded(root, recorder).write(f"{root}/file", b"same", perms=0o4755, owner=(1234, 4321))
    after = (root / "file").stat()
    assert change.changed
    assert (after.st_ino, stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (inode, 0o4755, 1234, 4321)
    (pending,) = recorder.pending
    assert pending.temp_path is None
    assert pending.before is not None
    assert pending.before.stat.uid != 1234
    assert recorder.done == [1]


def test_mode_owner_and_attributes_are_kept(files: Files, root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    path.chmod(0o6751)
    os.setxattr(path, "user.note", b"kept")
    subprocess.run(["setfacl", "-m", "u:2345:r", str(path)], check=True)
    before = path.stat()
    acl = subprocess.run(["getfacl", "-n", str(path)], capture_output=True, check=True).stdout
    files.write(str(path), b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, 1234, 4321)
    assert os.getxattr(path, "user.note") == b"kept"
    assert subprocess.run(["getfacl", "-n", str(path)], capture_output=True, check=True).stdout == acl


def test_default_acl_of_the_directory_does_not_open_an_existing_file(files: Files, root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    subprocess.run(["setfacl", "-d", "-m", "u:2345:rw", str(root)], check=True)
    files.write(str(path), b"new")
    assert "system.posix_acl_access" not in os.listxattr(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_symlink_is_kept_and_its_target_written(files: Files, root: Path) -> None:
    (root / "directory").mkdir()
    (root / "directory" / "target").write_bytes(b"old")
    (root / "link").symlink_to("directory/target")
    (root / "dangling").symlink_to("directory/new")
    assert files.write(f"{root}/link", b"new").path == f"{root}/directory/target"
    files.write(f"{root}/dangling", b"made")
    assert os.readlink(root / "link") == "directory/target"
    assert (root / "directory" / "target").read_bytes() == b"new"
    assert (root / "directory" / "new").read_bytes() == b"made"


def test_in_place_keeps_the_inode(root: Path, recorder: Recorder) -> None:
    path = root / "file"
    path.write_bytes(b"a longer old content")
    inode = path.stat().st_ino
    change = recorded(root, recorder).write(str(path), b"new", in_place=True)
    assert change.in_place
    assert path.stat().st_ino == inode
    assert path.read_bytes() == b"new"
    assert recorder.pending[0].temp_path is None
    assert recorder.seen == [{"file": b"a longer old content"}, {"file": b"new"}]


def test_in_place_of_a_new_file_is_an_atomic_write(files: Files, root: Path) -> None:
    assert not files.write(f"{root}/file", b"new", in_place=True).in_place
    assert (root / "file").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
def test_failing_disk_leaves_the_old_file_and_nothing_else(
    call: str, root: Path, recorder: Recorder, mocker: MockerFixture
) -> None:
    path = root / "file"
    path.write_bytes(b"old")
    inode = path.stat().st_ino
    mocker.patch(f"os.{call}", side_effect=OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises(LetsbeError) as caught:
        recorded(root, recorder).write(str(path), b"new")
    mocker.stopall()
    assert caught.value.code == "io_error"
    assert str(path) in caught.value.message
    assert (path.read_bytes(), path.stat().st_ino) == (b"old", inode)
    assert os.listdir(root) == ["file"]
    assert recorder.done == []


def test_interrupted_write_leaves_nothing_beside_the_old_file(files: Files, root: Path, mocker: MockerFixture) -> None:
    (root / "file").write_bytes(b"old")
    mocker.patch("os.fsync", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(f"{root}/file", b"new")
    assert os.listdir(root) == ["file"]


def test_content_and_directory_are_synced(files: Files, root: Path, mocker: MockerFixture) -> None:
    events: list[str] = []
    sync, rename = os.fsync, os.rename

    def watched_sync(descriptor: int) -> None:
        events.append("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        sync(descriptor)

    def watched_rename(*names: Any, **options: Any) -> None:
        events.append("rename")
        rename(*names, **options)

    mocker.patch("os.fsync", watched_sync)
    mocker.patch("os.rename", watched_rename)
    files.write(f"{root}/file", b"new")
    assert events == ["sync file", "rename", "sync directory"]


def test_change_by_others_before_the_rename_is_noticed(root: Path) -> None:
    class Meddler(Recorder):
        def about_to_change(self, change: Any) -> int:
            (root / "file").write_bytes(b"somebody else's")
            return super().about_to_change(change)

    for before in (b"old", None):
        if before is not None:
            (root / "file").write_bytes(before)
        else:
            (root / "file").unlink()
        for in_place in (False, True):
            if before is None and in_place:
                continue
            with pytest.raises(LetsbeError) as caught:
                Files([str(root)], Meddler(root)).write(f"{root}/file", b"new", in_place=in_place)
            assert caught.value.code == "changed_meanwhile"
            assert os.listdir(root) == ["file"]
            assert (root / "file").read_bytes() == b"somebody else's"
            (root / "file").write_bytes(before or b"")


def test_new_files_and_directories_inherit_the_group_of_their_directory(files: Files, root: Path) -> None:
    os.chown(root, -1, 4321)
    root.chmod(0o2755)
    files.make_parents(f"{root}/a/b/file")
    files.write(f"{root}/a/b/file", b"x")
    files.write(f"{root}/given", b"x", owner=(0, 0))
    assert (root / "a" / "b" / "file").stat().st_gid == 4321
    assert stat.S_IMODE((root / "a" / "b").stat().st_mode) == 0o2755
    assert (root / "given").stat().st_gid == 0


def test_expectation(files: Files, root: Path) -> None:
    found = files.read_or_none(f"{root}/file", max_bytes=9)
    files.write(f"{root}/file", b"1", expect=found)
    read = files.read(f"{root}/file", max_bytes=9)
    with pytest.raises(LetsbeError, match="changed_meanwhile"):
        files.write(f"{root}/file", b"2", expect=None)
    files.write(f"{root}/file", b"2", expect=read)
    with pytest.raises(LetsbeError, match="changed_meanwhile"):
        files.write(f"{root}/file", b"3", expect=read)
    files.write(f"{root}/file", b"3", expect=ANY)


def test_missing_directory_is_told_and_can_be_made(files: Files, root: Path) -> None:
    with pytest.raises(LetsbeError) as caught:
        files.write(f"{root}/a/b/file", b"x")
    assert caught.value.code == "directory_missing"
    assert f"{root}/a/b" in caught.value.message
    assert "make_dirs" in caught.value.hint
    before = os.umask(0o077)
    try:
        assert files.make_parents(f"{root}/a/b/file", 0o750) == (f"{root}/a", f"{root}/a/b")
    finally:
        os.umask(before)
    assert files.make_parents(f"{root}/a/b/file") == ()
    assert stat.S_IMODE((root / "a" / "b").stat().st_mode) == 0o750
    files.write(f"{root}/a/b/file", b"x")


def test_a_directory_is_as_it_shall_be_as_soon_as_it_is_there(
    files: Files, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds it after a kill takes it for what was wanted."""
    mkdir, modes = os.mkdir, []

    def watched(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        modes.append(stat.S_IMODE(os.stat(name, dir_fd=dir_fd).st_mode))

    monkeypatch.setattr(os, "mkdir", watched)
    before = os.umask(0o077)
    try:
        files.make_parents(f"{root}/a/b/file", 0o755)
        assert modes == [0o755, 0o755]
    finally:
        assert os.umask(before) == 0o077


def test_file_beyond_the_limit_is_not_replaced(files: Files, root: Path) -> None:
    with (root / "file").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    for action in (lambda: files.write(f"{root}/file", b"x"), lambda: files.remove(f"{root}/file")):
        with pytest.raises(LetsbeError, match="file_too_large"):
            action()


def test_remove(root: Path, recorder: Recorder) -> None:
    (root / "file").write_bytes(b"old")
    files = recorded(root, recorder)
    change = files.remove(f"{root}/file")
    assert change.changed
    assert change.after_sha256 is None
    assert os.listdir(root) == []
    assert content_of(recorder.pending[0].before) == b"old"
    assert recorder.seen == [{"file": b"old"}, {}]
    assert not files.remove(f"{root}/file").changed
    assert not files.remove(f"{root}/no/file").changed
    assert recorder.done == [1]


def test_removing_a_symlink_is_refused(files: Files, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    (root / "link").symlink_to("file")
    with pytest.raises(LetsbeError, match="path_refused"):
        files.remove(f"{root}/link")
    assert sorted(os.listdir(root)) == ["file", "link"]


def test_restore(files: Files, root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"old")
    os.chown(path, 12, 34)
    path.chmod(0o640)
    before = files.read(str(path), max_bytes=9)
    files.write(str(path), b"new", perms=0o600, owner=(0, 0))
    assert files.restore(str(path), before).changed
    after = path.stat()
    assert (path.read_bytes(), stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == (b"old", 0o640, 12, 34)
    files.restore(str(path), None)
    assert not path.exists()


def test_only_our_own_temporary_files_are_removed_as_such(files: Files, root: Path) -> None:
    name = replacing.temporary_name("compose.yml")
    (root / name).write_bytes(b"left")
    (root / ".file.letsbe-backup").write_bytes(b"mine")
    files.remove_temporary(f"{root}/{name}")
    files.remove_temporary(f"{root}/{name}")
    files.remove_temporary(f"{root}/gone/{name}")
    for kept in (".file.letsbe-backup", "compose.yml"):
        with pytest.raises(LetsbeError, match="path_refused"):
            files.remove_temporary(f"{root}/{kept}")
    assert os.listdir(root) == [".file.letsbe-backup"]


@pytest.mark.parametrize("name", ["a", "ü" * 127, "n" * 255], ids=["short", "multi-byte", "longest"])
def test_temporary_names_are_bounded_and_recognised(name: str) -> None:
    temporary = replacing.temporary_name(name)
    assert len(os.fsencode(temporary)) <= 255
    assert temporary.startswith(".")
    assert temporary != replacing.temporary_name(name)
    assert replacing.is_temporary_name(temporary)
    assert not replacing.is_temporary_name(name)


def test_candidate_is_beside_the_file_and_gone_afterwards(root: Path, recorder: Recorder) -> None:
    files = recorded(root, recorder)
    (root / "file").write_bytes(b"old")
    with files.candidate(f"{root}/file", b"to be judged") as candidate:
        assert candidate is not None
        assert Path(candidate).read_bytes() == b"to be judged"
        assert Path(candidate).parent == root
        assert stat.S_IMODE(Path(candidate).stat().st_mode) == 0o600
        assert recorder.pending[0].temp_path == candidate
    assert os.listdir(root) == ["file"]
    assert recorder.seen[0] == {"file": b"old"}


def test_readers_only_ever_see_a_whole_content(files: Files, root: Path) -> None:
    contents = (b"a" * 300_000, b"b" * 200_000)
    path = root / "file"
    path.write_bytes(contents[0])
    torn: list[bytes] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if (seen := path.read_bytes()) not in contents:
                torn.append(seen)
            time.sleep(0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(150):
        files.write(str(path), contents[(number + 1) % 2])
    over.set()
    watcher.join()
    assert torn == []


def as_nobody(action: Callable[[], object]) -> str:
    """What an action gives, or the error that it raises, in a child that has given up its rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            said = repr(action())
        except LetsbeError as error:
            said = f"{error.code} {error.message} {error.hint}"
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize(
    ("directory_mode", "mode", "owner", "in_place", "says"),
    [
        (0o777, 0o666, 0, False, "can't give files to others"),
        (0o777, 0o666, 0, True, "True"),
        (0o777, 0o600, 0, False, "permission_denied"),
        (0o755, 0o666, 65534, False, "the directory is not writable"),
        (0o755, 0o666, 65534, True, "True"),
        (0o777, 0o600, 65534, False, "True"),
    ],
)
def test_as_an_ordinary_user(directory_mode: int, mode: int, owner: int, in_place: bool, says: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base)
        path = root / "file"
        path.write_bytes(b"old")
        os.chown(path, owner, owner)
        path.chmod(mode)
        root.chmod(directory_mode)
        files = Files([base])
        said = as_nobody(lambda: files.write(str(path), b"new", in_place=in_place).changed)
        assert says in said
        assert path.read_bytes() == (b"new" if said == "True" else b"old")
        assert path.stat().st_uid == owner
        assert os.listdir(root) == ["file"]


def test_immutable_file_is_told(files: Files, root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"old")
    subprocess.run(["chattr", "+i", str(path)], check=True)
    try:
        with pytest.raises(LetsbeError) as caught:
            files.write(str(path), b"new")
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert caught.value.code == "permission_denied"
    assert os.listdir(root) == ["file"]
