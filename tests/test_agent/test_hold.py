"""A held host: what waits, what goes on, who is told, and how it ends."""

from __future__ import annotations

import json
import sqlite3
import time

import click
import msgspec
import pytest
from pytest_mock import MockerFixture

from letsbe.agent import hold
from letsbe.agent.caller import this_caller
from letsbe.agent.hold import Held
from letsbe.agent.journal import Journal
from letsbe.agent.journal_file import unusable
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.undoing import undo_run
from letsbe.cli.main import letsbe
from letsbe.errors import LetsbeError
from letsbe.protocol import epoch
from letsbe.tools.durations import parse_duration
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator, shared_orchestrator
from tests.test_agent.conftest import agent_id, connect

__all__ = ["shared_orchestrator"]


@pytest.fixture
def polling(shared_orchestrator: Orchestrator, agent: Agent) -> Agent:
    connect(agent, shared_orchestrator)
    assert agent.cli("poll").returncode == 0
    return agent


def write(agent: Agent, name: str) -> dict[str, str]:
    return {"path": str(agent.root / name), "content": "x"}


def test_tasks_wait_unclaimed_until_the_release(shared_orchestrator: Orchestrator, polling: Agent) -> None:
    assert polling.json("hold", "2h", "disk swap")["changed"] is True
    task = shared_orchestrator.submit("FILE_WRITE", write(polling, "a"), agent=agent_id(polling))
    done = polling.cli("poll", "-v")
    assert done.returncode == 0
    assert b"This host is held until" in done.stdout
    assert b"disk swap. 0 offered" in done.stdout
    assert shared_orchestrator.task(task).state == "waiting"
    (shown,) = [agent for agent in shared_orchestrator.agents() if agent.agent_id == agent_id(polling)]
    assert shown.hold is not None
    assert shown.hold["reason"] == "disk swap"
    assert 7100 < epoch(shown.hold["until"]) - time.time() <= 7200
    assert "disk swap, until 20" in " ".join(shared_orchestrator.run("agents", "--output", "text").stdout.split())
    assert polling.json("release")["changed"] is True
    assert polling.json("release")["changed"] is False
    assert polling.cli("poll").returncode == 0
    assert shared_orchestrator.outcome(task) is not None
    (shown,) = [agent for agent in shared_orchestrator.agents() if agent.agent_id == agent_id(polling)]
    assert shown.hold is None


def test_allowed_types_pass_by_those_that_wait(shared_orchestrator: Orchestrator, polling: Agent) -> None:
    section = msgspec.to_builtins(polling.config.orchestrator)
    polling.configure(orchestrator=section, poll={"max_tasks": 1})
    polling.json("hold", "30m", "disk swap", "--allow", "file-inspect,ECHO", "--allow", "COMPOSITE")
    me = agent_id(polling)
    waits = shared_orchestrator.submit("FILE_WRITE", write(polling, "a"), agent=me)
    passes = shared_orchestrator.submit("ECHO", {"message": "hi"}, agent=me)
    assert polling.cli("poll").returncode == 0
    assert shared_orchestrator.outcome(passes) is not None
    assert shared_orchestrator.task(waits).state == "waiting"
    assert not (polling.root / "a").exists()


def test_a_chain_passes_only_with_all_its_steps(shared_orchestrator: Orchestrator, polling: Agent) -> None:
    polling.json("hold", "30m", "disk swap", "--allow", "ECHO,COMPOSITE")
    me = agent_id(polling)
    echo = {"id": "say", "type": "ECHO", "payload": {"message": "hi"}}
    change = {"id": "change", "type": "FILE_WRITE", "payload": write(polling, "a")}
    inner = {"id": "inner", "type": "COMPOSITE", "payload": {"steps": [change]}}
    waits = shared_orchestrator.submit("COMPOSITE", {"steps": [echo, inner]}, agent=me)
    passes = shared_orchestrator.submit("COMPOSITE", {"steps": [echo]}, agent=me)
    polled = polling.json("poll", "--output", "json")
    assert (polled["offered"], polled["executed"]) == (2, 1)
    assert shared_orchestrator.outcome(passes) is not None
    assert shared_orchestrator.task(waits).state == "offered"
    assert not (polling.root / "a").exists()
    polling.json("release")
    assert polling.cli("poll").returncode == 0
    assert (polling.root / "a").exists()


def test_received_tasks_wait_with_their_lease_and_outcomes_are_delivered(
    shared_orchestrator: Orchestrator, polling: Agent
) -> None:
    me = agent_id(polling)
    later = shared_orchestrator.submit("FILE_WRITE", write(polling, "a"), agent=me)
    unwanted = shared_orchestrator.submit("FILE_WRITE", write(polling, "b"), agent=me)
    with Locks(str(polling.state_dir)).hold({"work"}, holder_now("poll", None)):  # as if another poll worked
        assert polling.json("poll", "--output", "json")["waiting"] == 2
    polling.json("hold", "30m", "disk swap")
    before = shared_orchestrator.task(later).lease_until or ""
    shared_orchestrator.cancel(unwanted)
    time.sleep(1)
    polled = polling.json("poll", "--output", "json")
    assert (polled["executed"], polled["waiting"]) == (0, 1)
    assert (shared_orchestrator.task(later).lease_until or "") > before
    polled = polling.json("poll", "--output", "json")
    assert (polled["executed"], polled["waiting"], polled["delivered"]) == (0, 1, 1)
    outcome = shared_orchestrator.outcome(unwanted)
    assert outcome is not None
    assert outcome["status"] == "cancelled"
    progress = shared_orchestrator.task(later).progress
    assert progress is not None
    assert "disk swap" in progress["message"]
    assert not (polling.root / "a").exists()
    polling.json("release")
    assert polling.cli("poll").returncode == 0
    assert (polling.root / "a").read_text() == "x"


def test_a_hold_ends_by_itself(agent: Agent) -> None:
    agent.json("hold", "1m", "disk swap")
    journal = agent.journal()
    try:
        held = hold.current(journal)
        assert held is not None
        hold.put(journal, msgspec.structs.replace(held, until=time.time() + 0.2))
        assert hold.current(journal) is not None
        time.sleep(0.25)
        assert hold.current(journal) is None
    finally:
        journal.close()
    assert agent.json("status")["hold"] is None
    assert agent.json("file-write", json.dumps(write(agent, "a")))["warnings"] == []


def test_status_history_and_runs_by_hand_tell_of_it(agent: Agent) -> None:
    done = agent.cli("hold", "3d", "disk swap", "--allow", "ECHO", env={"SUDO_USER": "ann"})
    assert done.returncode == 0
    shown = agent.json("status")["hold"]
    assert (shown["reason"], shown["allow"], shown["by"]["sudo_user"]) == ("disk swap", ["ECHO"], "ann")
    assert epoch(shown["until"]) - epoch(shown["since"]) == 3 * 86_400
    text = agent.cli("status", "--output", "text").stdout.decode()
    assert "disk swap" in text
    assert "by ann; allowed: ECHO" in " ".join(text.split())
    written = agent.json("file-write", json.dumps(write(agent, "a")))
    assert written["success"] is True
    assert written["warnings"] == [f"This host is held until {shown['until']} (but ECHO): disk swap"]
    undone = agent.json("undo", written["task_id"])
    assert undone["warnings"] == written["warnings"]
    (first,) = [run for run in agent.json("history") if run["type"] == "HOLD"]
    assert first["caller"]["sudo_user"] == "ann"
    assert first["payload"]["reason"] == "disk swap"
    assert first["state"] == "finished"
    second = agent.json("hold", "1h", "new kernel")
    assert second["data"]["before"].endswith("(but ECHO): disk swap"), "another takes its place"
    assert agent.json("status")["hold"]["reason"] == "new kernel"


@pytest.mark.parametrize(
    "words",
    [
        ["31d", "why"],
        ["0m", "why"],
        ["2", "why"],
        ["2w", "why"],
        ["-1h", "why"],
        ["٢h", "why"],
        ["2h", " "],
        ["2h", "why\x1b[2J"],
        ["2h", "w" * 201],
        ["2h"],
        ["2h", "why", "--allow", "NO_SUCH_TYPE"],
        ["2h", "why", "--allow", "ECHO,,SHELL"],
    ],
    ids=lambda words: repr(" ".join(words))[:30],
)
def test_what_is_unclear_is_refused(words: list[str], agent: Agent) -> None:
    with pytest.raises((LetsbeError, click.UsageError)) as refused:
        letsbe.main(["hold", *words, "--config", str(agent.config_file)], standalone_mode=False)
    assert getattr(refused.value, "exit_code", None) == 2
    journal = agent.journal()
    try:
        assert hold.current(journal) is None
        assert journal.latest(1) == []
    finally:
        journal.close()


def test_what_was_done_is_told_when_the_hold_can_not_be_read(agent: Agent, mocker: MockerFixture) -> None:
    fact = Journal.fact

    def failing(journal: Journal, name: str) -> str | None:
        if name == "hold":
            raise unusable(journal.path, sqlite3.OperationalError("disk I/O error"))
        return fact(journal, name)

    mocker.patch.object(Journal, "fact", failing)
    outcome = agent.run("FILE_WRITE", write(agent, "a"))
    assert (outcome.status, outcome.changed) == ("succeeded", True)
    journal = agent.journal()
    try:
        (run,) = journal.latest(1)
        assert run.state == "finished"
        undone = undo_run(agent.config, journal, run, origin="local", caller=this_caller(), force=False, check=False)
        assert (undone.status, undone.changed) == ("succeeded", True)
        assert [run.state for run in journal.latest(2)] == ["finished", "finished"]
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("2h", 7200), ("3d", 259_200), ("1h30m", 5400), ("30d", 2_592_000)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text, 30 * 86_400) == seconds


def test_steps_are_found_wherever_they_stand() -> None:
    held = Held(reason="r", since=0, until=1, allow=["ECHO", "COMPOSITE"], caller=hold.Caller(uid=0))
    assert held.allows("ECHO", {"message": "SHELL"})
    assert held.allows("COMPOSITE", {"steps": [{"id": "a", "type": "ECHO"}]})
    assert not held.allows("SHELL", {})
    assert not held.allows("COMPOSITE", {"steps": [], "rollback": [{"id": "a", "type": "SHELL"}]})
