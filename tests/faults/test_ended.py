"""Runs that are ended right after their effect, by kill -9 or by a cancel: what they did is told as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from tests.agents import Agent, program
from tests.faults.kills import descendants

RENAMES = "rename,renameat,renameat2"

#: How long the second run may take to come to its lock, in seconds.
START_S = 1.5


def start(agent: Agent, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, env=agent.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def append(agent: Agent, line: str) -> list[str]:
    payload = {"path": str(agent.root / "target"), "content": line, "mode": "append"}
    return [*program(), "file-write", "--lock-wait", "30", json.dumps(payload)]


def stopped_after_the_effect(agent: Agent) -> tuple[subprocess.Popen[bytes], int]:
    """A run that is stopped when its new content has taken the old one's place: its tracer and its pid."""
    target = agent.root / "target"
    target.write_text("old\n")
    tracing = ["strace", "-qq", "-o", "/dev/null", "-P", str(agent.root), "-e", f"trace={RENAMES}"]
    tracer = start(agent, *tracing, "-e", f"inject={RENAMES}:signal=STOP:when=1", *append(agent, "first\n"))
    until = time.monotonic() + 30
    while target.read_text() != "old\nfirst\n":
        assert time.monotonic() < until
        time.sleep(0.02)
    (pid,) = descendants(tracer.pid)
    return tracer, pid


def test_killed_run_is_settled_before_the_one_that_waited_for_it(agent: Agent) -> None:
    target = agent.root / "target"
    tracer, pid = stopped_after_the_effect(agent)
    waiting = start(agent, *append(agent, "second\n"))
    time.sleep(START_S)
    assert waiting.poll() is None
    os.kill(pid, signal.SIGKILL)
    tracer.communicate(timeout=30)
    output, error = waiting.communicate(timeout=60)
    assert json.loads(output)["success"] is True, error.decode()
    assert target.read_text() == "old\nfirst\nsecond\n"
    killed = agent.json("history")[1]["outcome"]
    assert (killed["status"], killed["changed"]) == ("interrupted", True)
    assert killed["data"]["findings"] == [f"{target} holds the new content"]


def test_cancelled_run_tells_what_it_had_changed(agent: Agent) -> None:
    tracer, pid = stopped_after_the_effect(agent)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    output, error = tracer.communicate(timeout=30)
    outcome = json.loads(output)
    assert (outcome["status"], outcome["changed"]) == ("cancelled", True), error.decode()
    assert outcome["warnings"] == [f"{agent.root}/target holds the new content"]
    assert agent.json("history")[0]["outcome"] == outcome
    assert agent.json("undo", outcome["task_id"])["success"] is True
    assert (agent.root / "target").read_text() == "old\n"
