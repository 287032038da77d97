"""While one poll works for long, the next ones heartbeat for it, run what only reads, and bring it a cancel."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from letsbe.host.process_table import all_processes, is_marked
from tests.agents import Agent, program
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id

SLEEP = os.path.realpath("/usr/bin/sleep")


@pytest.fixture
def working(orchestrator: Orchestrator, enrolled: Agent) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A poll that is in the middle of a task of 300 s; its task id."""
    section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file)}
    enrolled.configure(orchestrator=section, shell={"allow": [{"program": SLEEP, "args": ["300"]}]})
    task = orchestrator.submit("SHELL", {"argv": [SLEEP, "300"], "timeout_s": 400}, agent=agent_id(enrolled))
    poll = subprocess.Popen([*program(), "poll"], env=enrolled.environment(), stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while orchestrator.task(task).state != "claimed" or not is_started(enrolled, task) or not has_child(task):
        assert time.monotonic() < until
        time.sleep(0.05)
    yield task, poll
    if poll.poll() is None:
        poll.terminate()
    poll.communicate()


def is_started(agent: Agent, task: str) -> bool:
    journal = agent.journal()
    try:
        run = journal.get(task)
    finally:
        journal.close()
    return run is not None and run.state == "started"


def has_child(task: str) -> bool:
    """Whether the task's command runs: the journal says ``started`` before it does."""
    return any(is_marked(pid, task) for pid in all_processes())


def test_others_go_on(
    orchestrator: Orchestrator, enrolled: Agent, working: tuple[str, subprocess.Popen[bytes]]
) -> None:
    task, poll = working
    path = enrolled.root / "note"
    reads = orchestrator.submit("ECHO", {"message": "beside"}, agent=agent_id(enrolled))
    changes = orchestrator.submit("FILE_WRITE", {"path": str(path), "content": "x"}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(reads)
    assert outcome is not None
    assert outcome["success"] is True
    assert orchestrator.outcome(changes) is None
    assert not path.exists()
    orchestrator.cancel(task)
    assert enrolled.cli("poll").returncode == 0
    assert poll.wait(60) == 0, "the worker goes on with what waits"
    assert path.read_text() == "x"
    assert orchestrator.outcome(changes) is not None


def test_cancel_reaches_the_running_task(
    orchestrator: Orchestrator, enrolled: Agent, working: tuple[str, subprocess.Popen[bytes]]
) -> None:
    task, poll = working
    orchestrator.cancel(task)
    assert enrolled.cli("poll").returncode == 0
    assert poll.wait(60) == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["status"] == "cancelled"
    assert outcome["error"]["message"] == "cancelled by the orchestrator"
    assert orchestrator.task(task).state != "claimed"


def test_worker_that_is_killed_is_reported_interrupted(
    orchestrator: Orchestrator, enrolled: Agent, working: tuple[str, subprocess.Popen[bytes]]
) -> None:
    task, poll = working
    poll.kill()
    poll.wait()
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["status"] == "interrupted"
    assert "still ran and was killed: 1 process" in outcome["error"]["message"]
