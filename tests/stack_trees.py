"""Directories that tests look for stacks in."""

from __future__ import annotations

from pathlib import Path


class DiskTree:
    """A :class:`letsbe.tools.compose_load.Tree` over real directories; counts what it reads."""

    def __init__(self) -> None:
        self.was_read: list[str] = []

    def read(self, path: str) -> bytes | None:
        self.was_read.append(path)
        return Path(path).read_bytes() if Path(path).is_file() else None

    def canonical(self, path: str) -> str:
        return str(Path(path).resolve())

    def names(self, directory: str) -> tuple[list[str], list[str]]:
        entries = sorted(Path(directory).iterdir())
        plain = [entry.name for entry in entries if entry.is_file() or entry.is_symlink()]
        return plain, [entry.name for entry in entries if entry.is_dir() and not entry.is_symlink()]


def plant(base: Path, files: dict[str, str]) -> Path:
    """Write files below ``base``; a content ``-> x`` makes a symlink to x."""
    for name, content in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
    return base
