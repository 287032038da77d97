"""Which directories a sweep removes, and which it leaves alone whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letsbe.frozen import MARKER, sweep_orphans
from letsbe.frozen.sweep import GRACE_S, sweep

Layout = Callable[[Path], None]


def marked(orphan: Path) -> None:
    (orphan / MARKER).touch()
    (orphan / "libpython3.11.so.1.0").write_bytes(b"x" * 9000)
    (orphan / "msgspec").mkdir()
    (orphan / "msgspec" / "_core.so").touch()


def only_the_marker(orphan: Path) -> None:
    (orphan / MARKER).touch()


def nothing(orphan: Path) -> None:
    del orphan


def half_removed(orphan: Path) -> None:
    (orphan / "libpython3.11.so.1.0").touch()
    orphan.chmod(0o1700)


def of_another_program(other: Path) -> None:
    (other / "libpython3.11.so.1.0").touch()
    (other / "base_library.zip").touch()


def sticky_of_another_program(other: Path) -> None:
    (other / "libpython3.11.so.1.0").touch()
    (other / "game.pak").touch()
    other.chmod(0o1700)


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory in which this process pretends to have been unpacked."""
    own = tmp_path / "_MEI00000001own000"
    own.mkdir()
    marked(own)
    (own / "base_library.zip").touch()
    monkeypatch.setattr(sys, "_MEIPASS", str(own), raising=False)
    return tmp_path


def make(temp: Path, layout: Layout, *, age: float = GRACE_S + 1) -> Path:
    """A directory as the first process makes them, last touched ``age`` seconds ago."""
    directory = temp / f"_MEI00000002{len(list(temp.iterdir())):06d}"
    directory.mkdir(mode=0o700)
    layout(directory)
    set_age(directory, age)
    return directory


def set_age(directory: Path, age: float) -> None:
    then = directory.stat().st_ctime - age
    os.utime(directory, (then, then))


@pytest.mark.parametrize("layout", [marked, only_the_marker, nothing, half_removed])
def test_orphans_are_removed(layout: Layout, temp: Path) -> None:
    orphan = make(temp, layout)
    assert sweep() == [str(orphan)]
    assert not orphan.exists()
    assert (temp / "_MEI00000001own000" / "libpython3.11.so.1.0").exists()


@pytest.mark.parametrize("layout", [of_another_program, sticky_of_another_program])
def test_directories_of_other_programs_stay(layout: Layout, temp: Path) -> None:
    other = make(temp, layout)
    before = sorted(other.iterdir())
    assert sweep() == []
    assert sorted(other.iterdir()) == before


@pytest.mark.parametrize("layout", [marked, nothing, half_removed])
def test_a_directory_just_touched_stays(layout: Layout, temp: Path) -> None:
    fresh = make(temp, layout, age=GRACE_S / 2)
    assert sweep() == []
    assert fresh.exists()


@pytest.fixture
def lock_elsewhere() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Locks a directory's marker in a process of its own, as an agent does."""
    script = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "os.lockf(fd, os.F_TLOCK, 0)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    started: list[subprocess.Popen[str]] = []

    def lock(directory: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(directory / MARKER)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        started.append(process)
        return process

    yield lock
    for process in started:
        process.kill()
        process.communicate()


def test_a_locked_directory_stays_until_its_agent_is_killed(
    temp: Path, lock_elsewhere: Callable[[Path], subprocess.Popen[str]]
) -> None:
    alive = make(temp, marked)
    process = lock_elsewhere(alive)
    assert sweep() == []
    assert (alive / "libpython3.11.so.1.0").exists()
    process.kill()
    process.wait()
    assert sweep() == [str(alive)]


def test_symlinks_are_not_followed(temp: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("kept")
    (kept / MARKER).touch()
    (kept / "document").touch()
    set_age(kept, GRACE_S + 1)
    (temp / "_MEI00000003link00").symlink_to(kept)
    orphan = make(temp, marked)
    (orphan / "to-file").symlink_to(kept / "document")
    (orphan / "to-directory").symlink_to(kept)
    set_age(orphan, GRACE_S + 1)
    assert sweep() == [str(orphan)]
    assert sorted(path.name for path in kept.iterdir()) == [MARKER, "document"]


def test_a_marker_that_is_no_plain_file_is_left_alone(temp: Path) -> None:
    trap = make(temp, nothing)
    (trap / MARKER).symlink_to("/etc/passwd")
    set_age(trap, GRACE_S + 1)
    assert sweep() == []
    assert trap.exists()


def test_from_source_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, marked)
    assert sweep_orphans() == []
