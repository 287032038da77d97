"""kill -9 in the middle of a write: the file holds the old or the new content, whole."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from letsbe.host.files import Files
from letsbe.host.replacing import is_temporary_name

KILLS = 150
CONTENTS = (b"old " * 500_000, b"NEW!" * 700_000)


@pytest.mark.parametrize("name", ["target", "n" * 255], ids=["short name", "longest name"])
def test_target_is_whole_at_every_instant(name: str, files: Files, root: Path) -> None:
    path = root / name
    began = time.monotonic()
    for content in (*CONTENTS, CONTENTS[0]):
        files.write(str(path), content)
    usual_s = time.monotonic() - began
    chance = random.Random(name)
    leftovers = seen_new = 0
    for _ in range(KILLS):
        kill_while_writing(files, path, chance.uniform(0.0005, max(0.02, usual_s)))
        content = path.read_bytes()
        assert content in CONTENTS
        seen_new += content == CONTENTS[1]
        for found in set(os.listdir(root)) - {name}:
            assert is_temporary_name(found), found
            files.remove_temporary(f"{root}/{found}")
            leftovers += 1
        assert os.listdir(root) == [name]
    assert leftovers > 0, "no kill hit a write: nothing was shown"
    assert 0 < seen_new < KILLS


def kill_while_writing(files: Files, path: Path, after_s: float) -> None:
    """A child writes one content, then the other, and so on, until it is killed."""
    child = os.fork()
    if child == 0:
        while True:
            for content in CONTENTS:
                files.write(str(path), content)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
