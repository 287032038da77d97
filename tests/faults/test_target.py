"""A target's disk that is full or fails: old content or new, the error names the path, no litter, and then it works."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, program
from tests.faults.disks import DiskAgent, SmallDisk

OLD = "NAME=old\n"
#: More than is left on the full disk, so that the file system can't do without a new page.
NEW = "x" * 30_000

RENAMES = "rename,renameat,renameat2"


def tasks(root: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    path = str(root / "target.env")
    write = {"path": path, "content": f"NAME={NEW}\n"}
    update = {"path": path, "set": {"NAME": NEW}}
    first = {"id": "first", "type": "FILE_WRITE", "payload": {"path": str(root / "first"), "content": "1\n"}}
    second = {"id": "second", "type": "ENV_UPDATE", "payload": update}
    return {
        "FILE_WRITE": ("file-write", write),
        "ENV_UPDATE": ("env-update", update),
        "COMPOSITE": ("composite", {"steps": [first, second]}),
    }


@pytest.fixture
def small(tmp_path: Path) -> Iterator[DiskAgent]:
    disk = SmallDisk(tmp_path / "root")
    try:
        agent = DiskAgent(tmp_path)
        agent.disk = disk
        (disk.inside / "target.env").write_text(OLD)
        yield agent
    finally:
        disk.close()


def refused_in_clear_words(outcome: dict[str, Any], agent: Agent) -> None:
    assert outcome["success"] is False
    assert outcome["changed"] is False
    assert outcome["error"]["code"] not in ("internal", "state_unusable"), outcome
    assert str(agent.root / "target.env") in outcome["error"]["message"], outcome


@pytest.mark.parametrize("kind", tasks(Path("/")))
def test_full_target(small: DiskAgent, kind: str) -> None:
    command, payload = tasks(small.root)[kind]
    inside = small.disk.inside
    with small.disk.filled(4096 * 3):
        refused_in_clear_words(small.json(command, "-", stdin=json.dumps(payload).encode()), small)
        assert (inside / "target.env").read_text() == OLD
        assert sorted(path.name for path in inside.iterdir()) == ["filler", "target.env"]
    assert small.json(command, "-", stdin=json.dumps(payload).encode())["success"] is True
    assert NEW in (inside / "target.env").read_text()


@pytest.mark.parametrize("kind", tasks(Path("/")))
def test_failing_target(agent: Agent, kind: str) -> None:
    command, payload = tasks(agent.root)[kind]
    target = agent.root / "target.env"
    target.write_text(OLD)
    which = 2 if kind == "COMPOSITE" else 1  # the second step's, so that the first is put back
    inject = f"inject={RENAMES}:error=EIO:when={which}"
    tracing = ["strace", "-qq", "-o", "/dev/null", "-P", str(agent.root), "-e", f"trace={RENAMES}", "-e", inject]
    done = subprocess.run(
        [*tracing, *program(), command, "-"],
        input=json.dumps(payload).encode(),
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    outcome = json.loads(done.stdout)
    refused_in_clear_words(outcome, agent)
    assert target.read_text() == OLD
    assert sorted(path.name for path in agent.root.iterdir()) == ["target.env"]
    assert agent.json(command, "-", stdin=json.dumps(payload).encode())["success"] is True
    assert NEW in target.read_text()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_what_does_not_reach_the_disk_is_told(agent: Agent, error: str) -> None:
    """One sync after the other fails, the state's and the target's: the outcome tells what the file holds."""
    target = agent.root / "target.env"
    told = set()
    for which in range(1, 7):
        target.write_text(OLD)
        inject = f"inject=fsync:error={error}:when={which}"
        done = subprocess.run(
            [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fsync",
                "-e",
                inject,
                *program(),
                "file-write",
                "-",
            ],
            input=json.dumps({"path": str(target), "content": f"NAME={which}\n"}).encode(),
            env=agent.environment(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        outcome = json.loads(done.stdout)
        told.add(outcome["success"])
        assert "Traceback" not in done.stderr.decode()
        if outcome["error"] is not None:
            assert outcome["error"]["code"] != "internal", outcome
            assert any(str(place) in outcome["error"]["message"] for place in (target, agent.state_dir)), outcome
        expected = f"NAME={which}\n" if outcome["changed"] else OLD
        assert target.read_text() == expected, outcome
        assert sorted(path.name for path in agent.root.iterdir()) == ["target.env"]
    assert False in told
    assert agent.cli("history", "--verify").returncode == 0
