"""The built file installs, replaces and removes itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machine import Machine, machine
from tests.test_build.conftest import BareRoot
from tests.test_build.test_bare_systems import on_every_release

PROGRAM = "/usr/local/bin/letsbe"


@pytest.fixture
def here(letsbe_binary: Path, tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "machine") as copy:
        copy.forget("/etc/letsbe", "/var/lib/letsbe", "/opt/letsbe", "/etc/cron.d/letsbe", PROGRAM)
        copy.path("/root/letsbe").write_bytes(letsbe_binary.read_bytes())
        copy.path("/root/letsbe").chmod(0o700)
        yield copy


def test_it_is_copied_to_where_cron_starts_it(here: Machine, letsbe_binary: Path) -> None:
    here.run("/root/letsbe", "install", "--cron")
    program = here.path(PROGRAM)
    assert program.read_bytes() == letsbe_binary.read_bytes()
    assert program.stat().st_mode & 0o7777 == 0o755
    assert program.stat().st_uid == 0
    assert here.path("/etc/cron.d/letsbe").read_text().endswith(f"root {PROGRAM} poll --splay --if-set\n")
    assert not json.loads(here.run("/root/letsbe", "install").stdout)["changed"]
    assert not json.loads(here.run(PROGRAM, "install").stdout)["changed"]


def test_another_version_is_replaced_but_not_under_a_running_task(here: Machine, letsbe_binary: Path) -> None:
    here.run("/root/letsbe", "install")
    here.path(PROGRAM).write_bytes(b"\x7fELF of another version")
    lock = "/var/lib/letsbe/locks/work"
    here.path("/var/lib/letsbe/locks").mkdir(mode=0o700)
    here.path(lock).write_text('{"pid": 1, "type": "BACKUP", "since": "2026-01-01T00:00:00Z"}')
    busy = here.run("flock", lock, "/root/letsbe", "install", check=False)
    assert busy.returncode == 5
    assert b"BACKUP, pid 1" in busy.stderr
    assert here.path(PROGRAM).read_bytes() == b"\x7fELF of another version"
    done = json.loads(here.run("/root/letsbe", "install").stdout)
    assert [(action["path"], action["action"]) for action in done["actions"]] == [(PROGRAM, "update")]
    assert here.path(PROGRAM).read_bytes() == letsbe_binary.read_bytes()


@pytest.mark.parametrize("output", ["json", "text"])
def test_it_removes_itself_after_its_last_word(output: str, here: Machine) -> None:
    here.run("/root/letsbe", "install")
    done = here.run(PROGRAM, "uninstall", "--output", output)
    assert PROGRAM in done.stdout.decode()
    assert done.stderr == b""
    assert not here.path(PROGRAM).exists()
    assert not here.path("/etc/cron.d/letsbe").exists()
    assert here.path("/etc/letsbe/letsbe.yml").exists()


def test_root_starts_the_installed_file_as_the_agents_user(here: Machine) -> None:
    here.run("/root/letsbe", "install", "--user", "letsbe")
    done = here.run(PROGRAM, "echo", "--message", "hello")
    assert json.loads(done.stdout)["data"]["message"] == "hello"
    unreachable = here.run("/root/letsbe", "echo", check=False)
    assert b"can't be run by the user that /var/lib/letsbe belongs to" in unreachable.stderr
    assert PROGRAM.encode() in unreachable.stderr


@on_every_release
@pytest.mark.parametrize("user", ["root", "letsbe"])
def test_it_installs_works_and_leaves_on_a_bare_debian(user: str, bare_root: BareRoot, letsbe_binary: Path) -> None:
    brought = bare_root.changes / "root" / "letsbe"
    brought.parent.mkdir(mode=0o700)
    brought.write_bytes(letsbe_binary.read_bytes())
    brought.chmod(0o700)

    def run(*argv: str) -> Any:
        done = bare_root.run(*argv, "--output", "json")
        assert done.stdout, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    assert run("/root/letsbe", "install", "--check", "--user", user)["changed"]
    assert not (bare_root.changes / "etc/letsbe").exists()
    assert run("/root/letsbe", "install", "--user", user)["user"] == user
    assert not run("letsbe", "install")["changed"]
    assert run("letsbe", "file-write", "--path", "/opt/letsbe/note", "--content", "hi")["success"]
    assert ((bare_root.changes / "opt/letsbe/note").stat().st_uid == 0) == (user == "root")
    findings = {finding["check"]: finding["status"] for finding in run("letsbe", "doctor")["checks"]}
    assert "fail" not in findings.values(), findings
    assert findings["schedule"] == "warn", "there is no cron daemon"
    assert {findings[check] for check in ("binary", "state directory", "journal", "log", "roots", "TMPDIR")} == {"ok"}
    assert run("letsbe", "uninstall", "--purge")["changed"]
    left = sorted(str(path.relative_to(bare_root.changes)) for path in bare_root.changes.rglob("*letsbe*"))
    assert [path for path in left if not path.startswith(("opt/letsbe", "root/letsbe"))] == []
