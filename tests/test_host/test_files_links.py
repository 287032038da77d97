"""Random trees full of symlinks, with the kernel's own resolution as the oracle."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host import beneath
from letsbe.host.files import Files

NAMES = ["a", "b", "c"]
WAYS = (beneath.open_directory_beneath, lambda *_: None)


def grow(chance: random.Random, roots: list[Path], outside: Path) -> None:
    """A dozen directories, files and symlinks below two roots."""
    targets = ["a", "b", "a/b", "../a", "../b", "..", ".", "../..", "../../other/a", "../outside", "../../root/b"]
    targets += [str(path) for path in (*roots, roots[0] / "a", roots[1] / "b" / "c", outside, outside / "secret")]
    targets += [f"{roots[1]}/../outside/secret", f"/proc/self/root{outside}"]
    directories = list(roots)
    for _ in range(12):
        path = chance.choice(directories) / chance.choice(NAMES)
        if os.path.lexists(path):
            continue
        kind = chance.random()
        if kind < 0.35:
            path.mkdir()
            directories.append(path)
        elif kind < 0.5:
            path.write_bytes(b"inside")
        else:
            path.symlink_to(chance.choice(targets))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_read_is_what_the_path_means_and_below_a_root(
    seed: int, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    roots = [tmp_path / "root", tmp_path / "other"]
    for root in roots:
        root.mkdir()
    (outside / "secret").write_bytes(b"outside")
    grow(chance, roots, outside)
    files = Files([str(root) for root in roots])
    for _ in range(60):
        names = [chance.choice([*NAMES, "secret", "file"]) for _ in range(chance.randint(1, 4))]
        path = str(chance.choice(roots).joinpath(*names))
        found: list[object] = []
        for way in WAYS:
            monkeypatch.setattr(beneath, "open_directory_beneath", way)
            try:
                found.append((files.read(path, max_bytes=99).content, files.canonical(path)))
            except LetsbeError as error:
                found.append((error.code, error.message))
        real = os.path.realpath(path)
        is_inside = any(real.startswith(f"{root}/") for root in roots)
        assert found[0] == found[1]
        assert (found[0] == (b"inside", real)) is (os.path.isfile(path) and is_inside), path
