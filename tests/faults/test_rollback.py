"""A COMPOSITE that is killed while it puts its files back: the rest comes back with the next run, whoever makes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, program

NAMES = ("a", "b", "c")
RENAMES = "rename,renameat,renameat2"


def chain(root: Path, *, nested: bool) -> dict[str, Any]:
    """Three files get new content, one is new, and then a step fails."""
    steps: list[dict[str, Any]] = [
        {"id": name, "type": "FILE_WRITE", "payload": {"path": f"{root}/{name}", "content": "new\n"}}
        for name in (*NAMES, "fresh")
    ]
    steps.append({"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{root}/none", "mode": "head"}})
    return {"steps": [{"id": "inner", "type": "COMPOSITE", "payload": {"steps": steps}}] if nested else steps}


@pytest.mark.parametrize("nested", [False, True], ids=["chain", "chain in a chain"])
@pytest.mark.parametrize("at", [5, 6, 7])  # of 4 renames forth, and 3 back
def test_the_rollback_goes_on_after_a_crash_in_its_middle(agent: Agent, at: int, nested: bool) -> None:
    for name in NAMES:
        (agent.root / name).write_text("old\n")
    inject = f"inject={RENAMES}:signal=SIGKILL:when={at}"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(agent.root), "-e", f"trace={RENAMES}", "-e", inject]
    killed = subprocess.run(
        [*tracing, *program(), "composite", "-"],
        input=json.dumps(chain(agent.root, nested=nested)).encode(),
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode != 0
    assert not killed.stdout
    held = {name: (agent.root / name).read_text() for name in NAMES}
    assert "new\n" in held.values()  # it was in the middle, or at its end
    (run,) = agent.json("history")
    assert {name: (agent.root / name).read_text() for name in NAMES} == dict.fromkeys(NAMES, "old\n")
    assert sorted(path.name for path in agent.root.iterdir()) == list(NAMES)
    assert run["outcome"]["status"] == "interrupted"
    assert run["outcome"]["changed"] is False
    assert f"{agent.root}/a was put back after the crash" in run["outcome"]["data"]["findings"]
    assert agent.cli("history", "--verify").returncode == 0


def test_what_somebody_changed_meanwhile_is_left_alone(agent: Agent) -> None:
    (agent.root / "a").write_text("old\n")
    journal = agent.journal()
    steps = chain(agent.root, nested=False)
    steps["steps"] = [steps["steps"][0], steps["steps"][-1]]
    inject = f"inject={RENAMES}:signal=SIGKILL:when=2"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(agent.root), "-e", f"trace={RENAMES}", "-e", inject]
    command = [*tracing, *program(), "composite", "-"]
    subprocess.run(command, input=json.dumps(steps).encode(), env=agent.environment(), capture_output=True, check=False)
    (agent.root / "a").write_text("a person's\n")
    (run,) = agent.json("history")
    assert (agent.root / "a").read_text() == "a person's\n"
    assert "was changed since; not put back" in run["outcome"]["error"]["message"]
    journal.close()
