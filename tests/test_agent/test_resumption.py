"""A rollback that goes on after a crash: what it asks for anew, what it waits for, and what it keeps till then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent import hold
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.recovery import recover
from letsbe.host.process_table import MARK
from letsbe.protocol import new_id
from tests.agents import Agent
from tests.faults.rollbacks import killed, resumed
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect

SECRET = "R0llback-S3cret"


def chain(root: Path, **more: Any) -> dict[str, Any]:
    """A file in a directory that is new, and a secret; then a step fails."""
    write = {"path": f"{root}/made/file", "content": "new\n", "make_dirs": True}
    env = {"path": f"{root}/app.env", "set": {"DB_PASSWORD": SECRET}}
    steps: list[dict[str, Any]] = [
        {"id": "write", "type": "FILE_WRITE", "payload": write},
        {"id": "env", "type": "ENV_UPDATE", "payload": env},
        {"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{root}/none", "mode": "head"}},
    ]
    return {"steps": steps, **more}


@pytest.fixture
def crashed(agent: Agent) -> Agent:
    """One whose COMPOSITE was killed when nothing was put back yet."""
    (agent.root / "app.env").write_text("A=1\n")
    killed(agent, "open 1 a", "composite", "-", payload=chain(agent.root))
    return agent


def is_back(agent: Agent) -> bool:
    return not (agent.root / "made").exists() and (agent.root / "app.env").read_text() == "A=1\n"


def record(agent: Agent) -> Path:
    (path,) = (agent.state_dir / "rollback").iterdir()
    return path


def message(outcome: Any) -> str:
    assert outcome.error is not None
    return str(outcome.error.message)


def test_what_is_forbidden_by_now_is_told_and_the_rest_goes_on(crashed: Agent) -> None:
    crashed.configure(policy={"local": {"deny": ["FILE_WRITE"]}})
    (outcome,) = resumed(crashed)
    assert (crashed.root / "made").is_dir(), "the executor was to remove it"
    assert not (crashed.root / "made" / "file").exists(), "files are the agent's own"
    assert (crashed.root / "app.env").read_text() == "A=1\n"
    (problem,) = outcome.data["not_put_back"]
    assert problem.startswith("step write: FILE_WRITE is not allowed for tasks from the command line")
    assert problem in message(outcome)
    assert [step["state"] for step in outcome.data["steps"]] == ["ok", "rolled_back", "failed"]
    assert outcome.data["rolled_back"] is False


def test_a_rollback_step_that_is_forbidden_by_now_does_not_run(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    note = {"id": "note", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/note", "content": "x"}}
    killed(agent, "open 1 a", "composite", "-", payload=chain(agent.root, rollback=[note]))
    agent.configure(policy={"local": {"deny": ["FILE_WRITE"]}})
    (outcome,) = resumed(agent)
    assert not (agent.root / "note").exists()
    assert "rollback step note: step note (FILE_WRITE): FILE_WRITE is not allowed" in message(outcome)


@pytest.mark.parametrize("lock", ["file:{root}/app.env", "file:{root}/made/file"])
def test_it_waits_for_its_locks(crashed: Agent, lock: str) -> None:
    with Locks(str(crashed.state_dir)).hold({lock.format(root=crashed.root)}, holder_now("OTHER", new_id())):
        assert resumed(crashed) == []
        assert crashed.run(
            "ENV_UPDATE", {"path": f"{crashed.root}/other.env", "set": {"A": "1"}, "create": True}
        ).success
        assert not is_back(crashed)
        assert record(crashed).exists()
    (outcome,) = resumed(crashed)
    assert is_back(crashed)
    assert "ended while it was rolled back" in message(outcome), "waiting is no crash"


def test_a_run_that_has_one_of_its_locks_brings_it_to_its_end_first(crashed: Agent) -> None:
    """It waited for the lock, and its holder was killed: what it sees is what was before."""
    journal = crashed.journal()
    lock = {f"file:{crashed.root}/app.env"}
    try:
        with Locks(str(crashed.state_dir)).hold(lock, holder_now("OTHER", new_id())):
            (outcome,) = recover(crashed.config, journal, held=lock)
    finally:
        journal.close()
    assert is_back(crashed)
    assert outcome.data["rolled_back"] is True


def test_others_do_not_take_up_what_is_gone_on_with(crashed: Agent, mocker: Any) -> None:
    """It may take minutes: meanwhile it is a run like any other, and nobody waits for it."""
    from letsbe.agent import recovery

    seen: list[Any] = []
    go_on = recovery.go_on

    def looked_at(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)  # a cancel: it is to be ended, and that is what goes on here
        seen.append(crashed.json("history")[0]["state"])
        seen.append(crashed.json("file-write", "--path", f"{crashed.root}/x", "--content", "x")["success"])
        return go_on(*given)

    mocker.patch.object(recovery, "go_on", looked_at)
    (outcome,) = resumed(crashed)
    assert seen == ["started", True]
    assert outcome.data["rolled_back"] is True
    assert is_back(crashed)


def test_secrets_are_kept_for_root_alone_and_no_longer_than_needed(crashed: Agent) -> None:
    path = record(crashed)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert SECRET in path.read_text(), "the step could not be put back without its payload"
    (outcome,) = resumed(crashed)
    assert list(path.parent.iterdir()) == []
    assert SECRET not in str(outcome)
    for left in crashed.state_dir.rglob("*"):
        if left.is_file() and "undo" not in left.parts:
            assert SECRET.encode() not in left.read_bytes(), left
    assert SECRET.encode() not in crashed.cli("history", str(outcome.task_id)).stdout


def test_a_run_that_comes_to_its_end_leaves_no_record(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    outcome = agent.run("COMPOSITE", chain(agent.root))
    assert outcome.data["rolled_back"] is True
    assert list((agent.state_dir / "rollback").iterdir()) == []


def test_nothing_is_recorded_in_check_mode(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    assert not agent.run("COMPOSITE", chain(agent.root), check=True).success
    assert not (agent.state_dir / "rollback").exists()


class TestOfTheOrchestrator:
    @pytest.fixture
    def task(self, orchestrator: Orchestrator, enrolled: Agent) -> str:
        """A task whose poll was killed when nothing was put back yet."""
        (enrolled.root / "app.env").write_text("A=1\n")
        task = orchestrator.submit("COMPOSITE", chain(enrolled.root), agent=agent_id(enrolled))
        killed(enrolled, "open 1 a", "poll", "--now")
        assert not is_back(enrolled)
        return task

    def test_the_next_poll_goes_on_and_tells(self, orchestrator: Orchestrator, enrolled: Agent, task: str) -> None:
        assert enrolled.cli("poll").returncode == 0
        assert is_back(enrolled)
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["status"] == "interrupted"
        assert outcome["data"]["rolled_back"] is True
        assert [step["state"] for step in outcome["data"]["steps"]] == ["rolled_back", "rolled_back", "failed"]
        assert list((enrolled.state_dir / "inbox").iterdir()) == []
        assert SECRET not in json.dumps(outcome)

    def test_it_goes_on_without_the_orchestrator(self, orchestrator: Orchestrator, enrolled: Agent, task: str) -> None:
        orchestrator.stop()
        assert enrolled.cli("poll").returncode != 0
        assert is_back(enrolled)

    def test_it_goes_on_while_the_host_is_held(self, orchestrator: Orchestrator, enrolled: Agent, task: str) -> None:
        journal = enrolled.journal()
        held = hold.Held(reason="disk swap", since=0, until=1e11, allow=[], caller=hold.Caller(uid=0))
        hold.put(journal, held)
        journal.close()
        assert enrolled.cli("poll").returncode == 0
        assert is_back(enrolled)
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["data"]["rolled_back"] is True

    def test_it_goes_on_when_the_task_has_expired_meanwhile(self, enrolled: Agent, task: str) -> None:
        path = enrolled.state_dir / "inbox" / task
        believed = json.loads(path.read_text())
        believed["task"]["expires_at"] = "2020-01-01T00:00:00Z"
        path.write_text(json.dumps(believed))
        assert enrolled.cli("poll").returncode == 0
        assert is_back(enrolled)

    def test_no_executor_runs_for_a_key_that_is_trusted_no_more(
        self, orchestrator: Orchestrator, enrolled: Agent, task: str
    ) -> None:
        other = {"other": {"public_key": "A" * 43 + "=", "executors": ["*"]}}
        connect(enrolled, orchestrator, trusted_keys=other)
        enrolled.cli("poll")
        assert (enrolled.root / "made").is_dir()
        assert (enrolled.root / "app.env").read_text() == "A=1\n"
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert "step write: the key that signed this task may not ask for FILE_WRITE" in outcome["error"]["message"]


def test_what_the_killed_run_left_running_is_killed_and_told(crashed: Agent) -> None:
    journal = crashed.journal()
    (run,) = journal.in_state("started")
    journal.close()
    left = subprocess.Popen(["sleep", "1000"], env={MARK: f"{run.id}/1"}, start_new_session=True)
    (outcome,) = resumed(crashed)
    assert left.wait(10) != 0
    assert is_back(crashed)
    assert "what it had started still ran and was killed: 1 process" in outcome.data["findings"]
