"""This host's clock is a day wrong: the orchestrator's counts for tasks, people are warned, nothing else happens."""

from __future__ import annotations

import glob
import json
import subprocess
import time

import pytest

from letsbe.agent import identity
from letsbe.agent.poll import Poll
from letsbe.agent.worker import Worker
from tests.agents import Agent, program
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, enrolled

__all__ = ["enrolled"]

DAY_S = 86_400


def poll(agent: Agent, shift: str) -> subprocess.CompletedProcess[bytes]:
    """A poll by a clock that is wrong."""
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    # Only the wall clock: the other one is not what a wrong date changes.
    faked = {"LD_PRELOAD": library, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    command = [*program(), "poll", "--now"]
    return subprocess.run(command, env=agent.environment(faked), capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(("shift", "told"), [("+1d", "ahead of"), ("-1d", "behind")])
def test_a_clock_that_is_a_day_wrong(orchestrator: Orchestrator, enrolled: Agent, shift: str, told: str) -> None:
    before = identity.load(str(enrolled.state_dir))
    (enrolled.base / "enrolment-token").write_text(orchestrator.enrol())
    (enrolled.base / "enrolment-token").chmod(0o600)
    path = enrolled.root / "note"
    valid = orchestrator.submit(
        "FILE_WRITE", {"path": str(path), "content": "x"}, agent=agent_id(enrolled), expires_s=3600
    )
    later = orchestrator.submit("ECHO", agent=agent_id(enrolled), expires_s=25 * 3600)
    polls = [poll(enrolled, shift) for _ in range(2)]
    assert [(done.returncode, b"clock differs" in done.stderr) for done in polls] == [(0, True), (0, False)]
    assert path.read_text() == "x"
    for task in (valid, later):
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["status"] == "succeeded"
    assert identity.load(str(enrolled.state_dir)) == before, "it enrolled anew"
    assert (enrolled.base / "enrolment-token").exists()
    skew = enrolled.json("status")["clock_skew_s"]
    assert abs(abs(skew) - DAY_S) < 600
    assert f"s {told} the orchestrator's" in " ".join(
        enrolled.cli("status", "--output", "text").stdout.decode().split()
    )
    warnings = [json.loads(line) for line in enrolled.log_file.read_text().splitlines() if "clock differs" in line]
    assert len(warnings) == 1, "once is enough"
    assert enrolled.cli("poll", "--now").returncode == 0
    assert enrolled.json("status")["clock_skew_s"] is None


def test_a_task_that_expired_by_the_orchestrator_s_clock_is_not_begun(
    orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited here; this host's clock, a day behind, would still let it begin."""
    path = enrolled.root / "note"
    task = orchestrator.submit("FILE_WRITE", {"path": str(path), "content": "x"}, agent=agent_id(enrolled), expires_s=3)
    monkeypatch.setattr(Worker, "work", lambda *_: None)
    Poll(enrolled.config).run()
    monkeypatch.undo()
    time.sleep(4.2)  # instants on the wire are whole seconds
    assert poll(enrolled, "-1d").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["status"] == "expired"
    assert not path.exists()
