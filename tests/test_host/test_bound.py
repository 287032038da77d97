"""Whether a bind mount still shows its source; this process stands for the container's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from letsbe.host.bound import bound_now

PIDS = {"ours": os.getpid(), "nobody's": 2**22 + 1}  # above the highest pid that Linux gives


@pytest.mark.parametrize(
    ("source", "target", "pid", "started", "found"),
    [
        ("file", "file", "ours", 0, "same"),
        ("file", "link", "ours", 0, "same"),
        ("file", "other", "ours", 0, "replaced"),
        ("directory", "directory", "ours", 0, "same"),
        ("nothing", "file", "ours", 0, "gone"),
        ("file", "file", "nobody's", 0, "newer"),
        ("file", "file", "nobody's", 2e10, "unknown"),
        ("directory", "directory", "nobody's", 0, "unknown"),
        ("file", "nothing", "ours", 2e10, "unknown"),
    ],
)
def test_what_the_container_has(tmp_path: Path, source: str, target: str, pid: str, started: float, found: str) -> None:
    for name in ("file", "other"):
        (tmp_path / name).write_text(name)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert bound_now(f"{tmp_path}/{source}", PIDS[pid], f"{tmp_path}/{target}", started) == found
