"""The orchestrator learns what was run on a host by hand or over SSH, and when a host's journal was rewritten."""

from __future__ import annotations

import json
from typing import Any

import pytest

from letsbe.agent import reporting
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator


def told(orchestrator: Orchestrator) -> list[dict[str, Any]]:
    """What ``changes`` lists, oldest first."""
    done = orchestrator.run("changes", "--output", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found[::-1]


def write(agent: Agent, name: str, content: str, **environment: str) -> None:
    payload = {"path": f"{agent.root}/{name}", "content": content}
    assert agent.cli("file-write", json.dumps(payload), env=environment).returncode == 0


def test_runs_by_hand_and_over_ssh_are_told_once(
    orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(enrolled, "x", "hidden content", SUDO_USER="alice")
    write(enrolled, "y", "1", SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22")
    enrolled.cli("file-write", json.dumps({"path": f"{enrolled.root}/x", "content": "other", "if_sha256": "0" * 64}))
    enrolled.cli("file-inspect", json.dumps({"path": f"{enrolled.root}/x", "mode": "stat"}))
    journal = enrolled.journal()
    written = journal.head()
    for number in range(2):
        orchestrator.submit("ECHO", agent=enrolled.json("status")["agent_id"]) if not number else None
        assert enrolled.cli("poll").returncode == 0
        runs = told(orchestrator)
        assert [(run["type"], run["origin"], run["status"], run["changed"]) for run in runs] == [
            ("FILE_WRITE", "local", "succeeded", True),
            ("FILE_WRITE", "ssh", "succeeded", True),
            ("FILE_WRITE", "local", "failed", False),
        ]
    assert [run["paths"] for run in runs] == [[f"{enrolled.root}/x"], [f"{enrolled.root}/y"], []]
    assert (runs[0]["who"], runs[1]["who"]) == ("alice", "192.0.2.1 1 192.0.2.2 22")
    assert "hidden content" not in json.dumps(runs)
    assert journal.head().seq > written.seq
    drawn = orchestrator.run("changes", "--output", "text").stdout
    assert "local alice" in drawn
    assert f"{enrolled.root}/x" in "".join(drawn.split())  # the column wraps
    before = journal.head(), journal.fact("reported_up_to")
    enrolled.cli("poll")  # nothing to tell
    assert (journal.head(), journal.fact("reported_up_to")) == before
    journal.close()


def test_what_a_failed_poll_told_is_told_again(orchestrator: Orchestrator, enrolled: Agent) -> None:
    write(enrolled, "x", "1")
    orchestrator.stop()
    assert enrolled.cli("poll").returncode == 1
    orchestrator.start()
    assert enrolled.cli("poll", "--now").returncode == 0
    journal = enrolled.journal()
    journal.remember("reported_up_to", None)  # the answer was lost: the same is told once more
    journal.close()
    assert enrolled.cli("poll").returncode == 0
    assert [run["paths"] for run in told(orchestrator)] == [[f"{enrolled.root}/x"]]


def test_more_than_one_poll_tells_comes_with_the_next(
    orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letsbe.agent.poll import Poll

    monkeypatch.setattr(reporting, "MOST", 2)
    monkeypatch.setattr(reporting, "MOST_PATHS", 1)
    steps = [
        {"id": name, "type": "FILE_WRITE", "payload": {"path": f"{enrolled.root}/{name}", "content": name}}
        for name in ("a", "b", "c")
    ]
    assert enrolled.run("COMPOSITE", {"steps": steps}).success
    for name in ("d", "e"):
        assert enrolled.run("FILE_WRITE", {"path": f"{enrolled.root}/{name}", "content": name}).success
    for expected in (2, 3):
        Poll(enrolled.config).run()
        assert len(told(orchestrator)) == expected
    first = told(orchestrator)[0]
    assert (first["paths"], first["more_paths"]) == ([f"{enrolled.root}/a"], 2)


def test_a_journal_that_was_rewritten_is_noticed(orchestrator: Orchestrator, enrolled: Agent) -> None:
    write(enrolled, "x", "1")
    enrolled.cli("poll")
    (agent,) = orchestrator.agents()
    assert agent.journal_seq
    assert agent.journal_rewritten_at is None
    for part in ("", "-wal", "-shm"):
        (enrolled.state_dir / f"state.db{part}").unlink(missing_ok=True)
    enrolled.cli("poll")
    (agent,) = orchestrator.agents()
    assert agent.journal_rewritten_at is not None
    assert "rewritten" in orchestrator.run("agents", "--output", "text").stdout
