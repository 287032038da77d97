"""The built file where there is nothing but a minimal Debian, and where the temporary directory is a difficult one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from tests.test_build.conftest import BareRoot

NOBODY = 65534

#: A file runs where libc is not older than where it was built.
RELEASES = ["bookworm", "trixie"]
RELEASES = RELEASES[RELEASES.index(platform.freedesktop_os_release()["VERSION_CODENAME"]) :]
on_every_release = pytest.mark.parametrize("bare_root", RELEASES, indirect=True)


@on_every_release
@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_echo_runs_without_python(bare_root: BareRoot, letsbe_binary: Path, user: int) -> None:
    assert bare_root.run("sh", "-c", "command -v python3").returncode == 127
    bare_root.install(letsbe_binary)
    done = bare_root.run("letsbe", "echo", '{"message": "hi"}', user=user)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["message"] == "hi"


@on_every_release
def test_every_library_loads_without_python(bare_root: BareRoot, probe: Path) -> None:
    """No library of the machine that built it is missing there."""
    bare_root.install(probe)
    done = bare_root.run("letsbe", "import", user=NOBODY)
    assert json.loads(done.stdout) == {}, done.stderr


def test_a_noexec_temporary_directory_is_named_in_one_line(letsbe_binary: Path, tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o noexec,mode=1777 none "$1" && exec env TMPDIR="$1" "$2" --version'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), str(letsbe_binary)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "noexec" in done.stderr
    assert "set TMPDIR" in done.stderr
    assert str(tmp_path) in done.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = os.environ | {"TMPDIR": str(elsewhere)}
    assert subprocess.run([letsbe_binary, "--version"], env=env, capture_output=True).returncode == 0
    assert list(elsewhere.iterdir()) == []
