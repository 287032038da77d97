"""A cancel ends what a task does, and disturbs neither the putting back of it nor its account."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from letsbe.agent.caller import this_caller
from letsbe.agent.cancel import Cancel
from letsbe.agent.outcomes import Request
from letsbe.agent.recovery import recover
from letsbe.agent.rollback_record import RollbackRecord
from letsbe.agent.runner import Runner
from letsbe.agent.steps import RunSteps
from letsbe.executors import composite
from letsbe.executors.base import ExecutionResult
from letsbe.executors.echo import Data, Echo
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.faults.rollbacks import killed
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id

HEAD = os.path.realpath("/usr/bin/head")
SLEEP = os.path.realpath("/usr/bin/sleep")


@pytest.fixture
def run(agent: Agent) -> Iterator[Callable[..., Outcome]]:
    """Runs a task in this process that ``cancelled()`` cancels, as its orchestrator does."""
    cancel = Cancel(lambda: True)
    before = signal.signal(signal.SIGUSR1, cancel.look)

    def run(task_type: str, payload: Any) -> Outcome:
        runner = Runner(agent.config, origin="local", caller=this_caller(), cancel=cancel)
        return runner.run(Request(type=task_type, payload=payload))

    yield run
    signal.signal(signal.SIGUSR1, before)


def cancelled() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, and a cancel when it has ended."""

    def with_cancel(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        cancelled()
        return result

    return with_cancel


def write(agent: Agent, name: str, text: str = "on") -> dict[str, Any]:
    return {"id": name, "type": "FILE_WRITE", "payload": {"path": str(agent.root / name), "content": text}}


def fails(agent: Agent) -> dict[str, Any]:
    return {"id": "fails", "type": "FILE_INSPECT", "payload": {"path": str(agent.root / "none"), "mode": "head"}}


@pytest.mark.parametrize(
    ("where", "name", "code"),
    [
        (RollbackRecord, "note_ended", "cancelled"),
        (composite, "_failure", "step_failed"),
        (RunSteps, "_put_back", "step_failed"),
        (composite.Composite, "_roll_back", "step_failed"),
    ],
    ids=["between steps", "when a step has failed", "while files are put back", "when all is put back"],
)
def test_a_chain_is_put_back_whenever_a_cancel_comes(
    agent: Agent, run: Callable[..., Outcome], mocker: MockerFixture, where: Any, name: str, code: str
) -> None:
    mocker.patch.object(where, name, after(getattr(where, name)))
    outcome = run("COMPOSITE", {"steps": [write(agent, "a"), fails(agent)]})
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.data["rolled_back"] is True
    assert not (agent.root / "a").exists()


def test_no_step_begins_after_a_cancel(agent: Agent, run: Callable[..., Outcome], mocker: MockerFixture) -> None:
    """It came while a chain inside was put back, whose failure would be allowed."""
    mocker.patch.object(composite.Composite, "_roll_back", after(composite.Composite._roll_back))
    inner = {"id": "inner", "type": "COMPOSITE", "on_error": "continue", "payload": {"steps": [fails(agent)]}}
    outcome = run("COMPOSITE", {"steps": [write(agent, "a"), inner, write(agent, "b")]})
    assert outcome.status == "cancelled"
    assert [step["state"] for step in outcome.data["steps"]] == ["rolled_back", "failed", "failed"]
    assert list(agent.root.iterdir()) == []


def test_an_executor_that_goes_back_tells_of_it(
    agent: Agent, run: Callable[..., Outcome], mocker: MockerFixture
) -> None:
    def execute(self: Echo, payload: Any) -> ExecutionResult[Data]:
        with self.context.steps.putting_back(5, resumable=False):
            cancelled()
        cancelled()
        return ExecutionResult(data=Data(message="told", version="", host="", uptime_s=0))

    mocker.patch.object(Echo, "execute", execute)
    assert run("ECHO", {}).data["message"] == "told"


def test_an_executor_is_torn_once(agent: Agent, run: Callable[..., Outcome], mocker: MockerFixture) -> None:
    """The next poll names the cancel again: that must not tear its cleaning up."""
    seen: list[str] = []

    def execute(*_: object) -> None:
        try:
            cancelled()
            seen.append("not torn")
        finally:
            cancelled()
            seen.append("cleaned up")

    mocker.patch.object(Echo, "execute", execute)
    assert run("ECHO", {}).status == "cancelled"
    assert seen == ["cleaned up"]


def test_a_run_stays_cancellable_when_it_has_ended_a_crashed_one(agent: Agent, run: Callable[..., Outcome]) -> None:
    killed(agent, "open 1 a", "composite", "-", payload={"steps": [write(agent, "a"), fails(agent)]})
    handler = signal.getsignal(signal.SIGUSR1)
    journal = agent.journal()
    try:
        (outcome,) = recover(agent.config, journal)
    finally:
        journal.close()
    assert outcome.data["rolled_back"] is True
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_a_rollback_goes_to_its_end_though_each_poll_names_the_cancel(
    orchestrator: Orchestrator, enrolled: Agent
) -> None:
    """The rollback waits at a pipe, so that a poll comes in the middle of it."""
    pipe, mode = enrolled.root / "pipe", enrolled.root / "mode"
    os.mkfifo(pipe)
    section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file)}
    rules = [{"program": SLEEP, "args": ["300"]}, {"program": HEAD, "args": ["-c1", str(pipe)]}]
    enrolled.configure(orchestrator=section, shell={"allow": rules})
    steps = [write(enrolled, "mode", "on"), {"id": "b", "type": "SHELL", "payload": {"argv": [SLEEP, "300"]}}]
    waits = {"id": "r1", "type": "SHELL", "payload": {"argv": [HEAD, "-c1", str(pipe)]}}
    payload = {"steps": steps, "rollback": [waits, {**write(enrolled, "mode", "off"), "id": "r2"}]}
    task = orchestrator.submit("COMPOSITE", payload, agent=agent_id(enrolled))
    working = enrolled.start("poll")
    try:
        wait_until(lambda: step_of(enrolled, task) == "b")
        orchestrator.cancel(task)
        assert enrolled.cli("poll").returncode == 0
        wait_until(lambda: step_of(enrolled, task) == "r1")
        with open(os.open(pipe, os.O_RDWR), "wb", buffering=0) as opened:
            assert enrolled.cli("poll").returncode == 0
            opened.write(b"x")
            assert working.wait(60) == 0
    finally:
        working.kill()
        working.communicate()
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["status"] == "cancelled"
    assert [step["state"] for step in outcome["data"]["rollback"]] == ["ok", "ok"]
    assert mode.read_text() == "off"


def step_of(agent: Agent, task: str) -> str:
    journal = agent.journal()
    try:
        found = journal.get(task)
    finally:
        journal.close()
    return "" if found is None else found.step


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)
