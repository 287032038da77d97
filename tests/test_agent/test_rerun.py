"""A task whose process is gone runs again when its type is safe to run again, never more than three times in all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id

#: ``letsbe poll`` whose ENV_UPDATE leaves a line in a file and is killed, before (b) or after (a) its effect.
CRASHING = """
import os, signal, sys
from letsbe.executors.env_update import EnvUpdate
from letsbe.executors.file_write import FileWrite
counts, when = sys.argv[1:]
del sys.argv[1:]
def crashing(execute):
    def crash(self, payload):
        with open(counts, "a") as file:
            file.write("run\\n")
        if when == "a":
            execute(self, payload)
        os.kill(os.getpid(), signal.SIGKILL)
    return crash
for kind in (EnvUpdate, FileWrite):
    kind.execute = crashing(kind.execute)
sys.argv += ["poll", "--now"]
from letsbe.cli.main import main
main()
"""


@pytest.fixture
def env(enrolled: Agent) -> Path:
    path = enrolled.root / "app.env"
    path.write_text("A=old\n")
    return path


def crash(agent: Agent, when: str = "a") -> None:
    """A poll that is killed if it runs a task."""
    argv = [sys.executable, "-c", CRASHING, str(agent.base / "counts"), when]
    subprocess.run(argv, env=agent.environment(), capture_output=True, timeout=120, check=False)


def crashes(agent: Agent) -> int:
    path = agent.base / "counts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def update(orchestrator: Orchestrator, agent: Agent, path: Path) -> str:
    return orchestrator.submit("ENV_UPDATE", {"path": str(path), "set": {"A": "new"}}, agent=agent_id(agent))


def told(orchestrator: Orchestrator, task: str) -> dict[str, Any]:
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize("when", ["b", "a"], ids=["before its effect", "after its effect"])
def test_safe_task_runs_again(orchestrator: Orchestrator, enrolled: Agent, env: Path, when: str) -> None:
    task = update(orchestrator, enrolled, env)
    crash(enrolled, when)
    assert crashes(enrolled) == 1
    assert enrolled.cli("poll").returncode == 0
    outcome = told(orchestrator, task)
    assert outcome["status"] == "succeeded"
    assert outcome["changed"] is True, "what the crashed run did is the task's doing"
    assert "run again" in outcome["warnings"][-1]
    assert env.read_text() == "A=new\n"
    assert enrolled.json("undo", task)["success"] is True
    assert env.read_text() == "A=old\n"


def test_third_crash_is_the_last(orchestrator: Orchestrator, enrolled: Agent, env: Path) -> None:
    task = update(orchestrator, enrolled, env)
    for _ in range(5):
        crash(enrolled)
    assert crashes(enrolled) == 3
    outcome = told(orchestrator, task)
    assert outcome["status"] == "interrupted"
    assert "crashed its run 3 times" in outcome["error"]["message"]
    assert list((enrolled.state_dir / "inbox").iterdir()) == []
    assert enrolled.json("undo", task)["success"] is True
    assert env.read_text() == "A=old\n"


def test_unsafe_task_does_not(orchestrator: Orchestrator, enrolled: Agent, env: Path) -> None:
    payload = {"path": str(env), "content": "B=1\n", "mode": "append"}
    task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    crash(enrolled)
    crash(enrolled)
    assert crashes(enrolled) == 1
    assert told(orchestrator, task)["status"] == "interrupted"
    assert env.read_text() == "A=old\nB=1\n"


def deny(orchestrator: Orchestrator, agent: Agent, task: str) -> str:
    document = yaml.safe_load(agent.config_file.read_text())
    document["policy"] = {"orchestrator": {"deny": ["ENV_UPDATE"]}}
    agent.config_file.write_text(yaml.safe_dump(document))
    return "ENV_UPDATE"


def cancel(orchestrator: Orchestrator, agent: Agent, task: str) -> str:
    orchestrator.cancel(task)
    return "cancelled by the orchestrator"


def lose(orchestrator: Orchestrator, agent: Agent, task: str) -> str:
    (agent.state_dir / "inbox" / task).unlink()
    return "no longer in the inbox"


@pytest.mark.parametrize("stop", [deny, cancel, lose])
def test_what_forbids_a_first_run_forbids_the_next(
    orchestrator: Orchestrator, enrolled: Agent, env: Path, stop: Any
) -> None:
    task = update(orchestrator, enrolled, env)
    crash(enrolled)
    reason = stop(orchestrator, enrolled, task)
    for _ in range(2):
        assert enrolled.cli("poll", "--now").returncode == 0
    outcome = told(orchestrator, task)
    assert outcome["status"] == "interrupted", "it has begun: no mere refusal"
    assert outcome["changed"] is True
    assert reason in outcome["error"]["message"]
    assert env.read_text() == "A=new\n"
