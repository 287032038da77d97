"""Others exchange parts of a path for symlinks while it is used: nothing outside is ever read, written or removed."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.files import Files

pytestmark = pytest.mark.usefixtures("way")

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
ROUNDS = 2_000


@contextmanager
def exchanging(first: Path, second: Path) -> Iterator[None]:
    """Exchange two names in a tight loop, in another process."""
    child = os.fork()
    if child == 0:
        exchange = ctypes.CDLL(None).renameat2
        names = os.fsencode(first), os.fsencode(second)
        parent = os.getppid()
        while os.getppid() == parent:
            for _ in range(1000):
                exchange(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
        os._exit(0)
    try:
        time.sleep(0.02)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def outcomes(rounds: int, action: Callable[[int], object]) -> Counter[str]:
    """How often an action went through, and with which codes it did not.

    Goes on past ``rounds``, for up to 20 s, until both have happened: else nothing would be shown.
    """
    found: Counter[str] = Counter()
    until = time.monotonic() + 20
    for number in count():
        if number >= rounds and (time.monotonic() > until or (found["done"] and found["path_refused"])):
            break
        try:
            action(number)
        except LetsbeError as error:
            found[error.code] += 1
        else:
            found["done"] += 1
    return found


@pytest.fixture
def trap(root: Path, outside: Path) -> Path:
    """``root/part`` is a directory that holds a file; ``root/link`` leads to one outside that holds one, too."""
    (root / "part").mkdir()
    (root / "part" / "file").write_bytes(b"inside")
    (root / "link").symlink_to(outside)
    return root


def unharmed(outside: Path) -> bool:
    return {path.name: path.read_bytes() for path in outside.iterdir()} == {"file": b"outside"}


def test_directory_exchanged_for_a_symlink(trap: Path, outside: Path, files: Files) -> None:
    path = f"{trap}/part/file"
    seen: set[bytes] = set()

    def read_part(number: int) -> None:
        with files.open(path) as opened:
            seen.add(opened.pread(0, 7))

    with exchanging(trap / "part", trap / "link"):
        reads = outcomes(ROUNDS, lambda _: seen.add(files.read(path, max_bytes=99).content))
        parts = outcomes(ROUNDS, read_part)
        writes = outcomes(ROUNDS, lambda number: files.write(path, b"written%d" % number))
        in_place = outcomes(ROUNDS, lambda number: files.write(path, b"in place%d" % number, in_place=True))
        made = outcomes(ROUNDS // 10, lambda number: files.make_parents(f"{trap}/part/new{number}/file"))
        listings = outcomes(ROUNDS // 10, lambda _: files.list(f"{trap}/part", 1, 9))
    assert seen == {b"inside"}
    assert unharmed(outside)
    for found in (reads, parts, writes, in_place, made, listings):
        assert found["done"] > 0, found
        assert found["path_refused"] > 0, found
        assert set(found) <= {"done", "path_refused", "not_a_directory"}


def test_file_exchanged_for_a_symlink(trap: Path, outside: Path, files: Files) -> None:
    (trap / "name").write_bytes(b"inside")
    (trap / "other").symlink_to(outside / "file")
    path = f"{trap}/name"
    seen: set[bytes] = set()
    with exchanging(trap / "name", trap / "other"):
        reads = outcomes(ROUNDS, lambda _: seen.add(files.read(path, max_bytes=99).content))
        in_place = outcomes(ROUNDS, lambda number: files.write(path, b"in place%d" % number, in_place=True))
        owners = outcomes(ROUNDS, lambda number: files.write(path, b"same", perms=0o600 + number % 2, in_place=True))
    assert seen == {b"inside"}
    assert unharmed(outside)
    assert (outside / "file").stat().st_mode & 0o777 != 0o601
    for found in (reads, in_place, owners):
        assert found["done"] > 0
        assert found["path_refused"] > 0


def test_removals_and_replacements_stay_inside(trap: Path, outside: Path, files: Files) -> None:
    (trap / "name").write_bytes(b"inside")
    (trap / "other").symlink_to(outside / "file")
    with exchanging(trap / "part", trap / "link"):
        removals = outcomes(300, lambda _: files.remove(f"{trap}/part/file"))
        leftovers = outcomes(300, lambda _: files.remove_temporary(f"{trap}/part/.file.letsbe-0123456789abcdef"))
    with exchanging(trap / "name", trap / "other"):
        replacements = outcomes(300, lambda number: files.write(f"{trap}/name", b"written%d" % number))
    assert unharmed(outside)
    assert os.listdir(trap / ("link" if (trap / "part").is_symlink() else "part")) == []
    for found in (removals, leftovers):
        assert found["done"] > 0, found
        assert found["path_refused"] > 0, found
    assert set(replacements) <= {"done", "changed_meanwhile", "path_refused"}


def test_files_exchanged_for_a_fifo_never_block(trap: Path, files: Files) -> None:
    (trap / "name").write_bytes(b"inside")
    os.mkfifo(trap / "other")
    with exchanging(trap / "name", trap / "other"):
        began = time.monotonic()
        reads = outcomes(ROUNDS, lambda _: files.read(f"{trap}/name", max_bytes=99))
    assert time.monotonic() - began < 30
    assert reads["done"] > 0
    assert reads["path_refused"] > 0
