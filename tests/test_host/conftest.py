"""A root to work in, something outside to escape to, and both ways of walking."""

from __future__ import annotations

from pathlib import Path

import pytest

from letsbe.host.files import FileContent, Files, PendingChange


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How directories are reached: by the kernel in one step, or as on a kernel that lacks the call."""
    if request.param == "walk":
        monkeypatch.setattr("letsbe.host.beneath.open_directory_beneath", lambda *_: None)
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "file").write_bytes(b"outside")
    return made


@pytest.fixture
def files(root: Path) -> Files:
    return Files([str(root)])


class Recorder:
    """Remembers what it was told, and what was on disk then."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.pending: list[PendingChange] = []
        self.seen: list[dict[str, bytes]] = []
        self.done: list[int] = []

    def about_to_change(self, change: PendingChange) -> int:
        self.pending.append(change)
        self.seen.append(self._contents())
        return len(self.pending)

    def settled(self, ticket: int) -> None:
        self.done.append(ticket)
        self.seen.append(self._contents())

    def _contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._root.rglob("*") if path.is_file()}


@pytest.fixture
def recorder(root: Path) -> Recorder:
    return Recorder(root)


def content_of(found: FileContent | None) -> bytes | None:
    return None if found is None else found.content
