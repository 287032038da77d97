"""kill -9 at every step to disk: the target holds the old or the new content, and the next run tells which."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, program

#: Every system call by which a run leaves something behind.
EFFECTS = "fsync,fdatasync,rename,renameat,renameat2,write,pwrite64,fchmod,fchown,unlink,unlinkat,linkat,ftruncate"
#: Agents that are killed side by side.
AT_ONCE = 4

OLD = "A=1\nNAME=old\n" + "# filler\n" * 2000
COMPOSITE = {
    "steps": [
        {"id": "env", "type": "ENV_UPDATE", "payload": {"path": "{root}/app.env", "set": {"NAME": "new"}}},
        {"id": "file", "type": "FILE_WRITE", "payload": {"path": "{root}/second", "content": "second\n"}},
        {"id": "last", "type": "FILE_WRITE", "payload": {"path": "{root}/third", "content": "third\n"}},
    ]
}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "FILE_WRITE": ("file-write", {"path": "{root}/app.env", "content": "A=1\nNAME=new\n" + "# filler\n" * 2000}),
    "ENV_UPDATE": ("env-update", {"path": "{root}/app.env", "set": {"NAME": "new"}}),
    "COMPOSITE": ("composite", COMPOSITE),
}


def words(agent: Agent, task: str) -> list[str]:
    command, payload = TASKS[task]
    return [command, json.dumps(payload).replace("{root}", str(agent.root))]


def prepare(base: Path, like: Agent | None = None) -> Agent:
    """An agent whose state directory and journal are there: made, or copied from one that ran nothing yet."""
    base.mkdir(mode=0o755)
    agent = Agent(base)
    (agent.root / "app.env").write_text(OLD)
    if like is None:
        agent.cli("history")
    else:
        shutil.copytree(like.state_dir, agent.state_dir)
    return agent


def contents(agent: Agent) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in agent.root.iterdir()}


def await_status(pid: int, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, line
        time.sleep(0.002)


def traced(agent: Agent, task: str, *options: str) -> int:
    """Run a task with its effects traced; its exit code."""
    with open(os.devnull, "r+b") as nothing:
        run = agent.start_stopped(*words(agent, task), streams=(nothing, nothing, nothing))
        await_status(run.pid, "State:\tT")
        trace = ["strace", "-qq", "-e", f"trace={EFFECTS}", "-e", "signal=none", *options, "-p", str(run.pid)]
        tracer = subprocess.Popen(trace, stderr=subprocess.DEVNULL)
        await_status(run.pid, f"TracerPid:\t{tracer.pid}")
        os.kill(run.pid, signal.SIGCONT)
        code = run.wait(60)
        tracer.wait(10)
    return code


def effects(agent: Agent, task: str) -> list[tuple[str, int]]:
    """What a task does, in order: each system call, and which one of its kind it is.

    Of pages that are written one after the other only the first is named: between them nothing is done but by SQLite.
    """
    log = agent.base / "effects"
    assert traced(agent, task, "-o", str(log)) == 0
    calls = [line.partition("(")[0] for line in log.read_text(errors="replace").splitlines() if "(" in line]
    seen: Counter[str] = Counter()
    found = []
    for before, call in pairwise(["", *calls]):
        seen[call] += 1
        if not call == before == "pwrite64":
            found.append((call, seen[call]))
    return found


def killed_at(agent: Agent, task: str, call: str, number: int) -> None:
    """Run a task that is killed when it is about to make a system call for the ``number``-th time."""
    # strace counts each system call for itself
    code = traced(agent, task, "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={number}")
    assert code == -signal.SIGKILL, (call, number)


def check_what_is_told(agent: Agent, before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """The files are old or new, whole; the journal says which; undo puts the old ones back."""
    left = contents(agent)
    runs = agent.json("history", "-n", "1")
    for name, content in contents(agent).items():
        assert content in (before.get(name), after.get(name)), f"{name} is neither old nor new"
    if not runs:
        assert left == before, "something was changed, and nothing was journaled"
        return "nothing journaled"
    outcome = runs[0]["outcome"]
    assert runs[0]["state"] == "finished"
    if outcome["status"] == "succeeded":
        assert contents(agent) == after
        return "succeeded"
    assert outcome["status"] == "interrupted", outcome
    changed = contents(agent) != before
    assert outcome["changed"] is changed, outcome
    for finding in filter(lambda text: " holds the " in text, outcome["data"]["findings"]):
        path = Path(finding.split(" holds ")[0])
        now = path.read_bytes() if path.exists() else None
        expected = after if "new content" in finding else before
        assert now == expected.get(path.name), finding
    if changed:
        assert outcome["data"]["findings"]
        undone = agent.json("undo", runs[0]["id"])
        assert undone["success"] is True, undone
        assert contents(agent) == before
    return "interrupted"


@pytest.mark.parametrize("task", TASKS)
def test_killed_at_every_effect(task: str, tmp_path: Path) -> None:
    fresh = prepare(tmp_path / "fresh")
    reference = prepare(tmp_path / "reference", fresh)
    before = contents(reference)
    points = effects(reference, task)
    after = contents(reference)
    assert after != before
    assert {"fsync", "fdatasync", "fchmod", "renameat", "pwrite64"} <= {call for call, _ in points}

    def killed(point: tuple[str, int]) -> str:
        agent = prepare(tmp_path / "-".join(map(str, point)), fresh)
        killed_at(agent, task, *point)
        verdict = check_what_is_told(agent, before, after)
        shutil.rmtree(agent.base)
        return verdict

    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = Counter(pool.map(killed, points))
    assert seen["interrupted"] >= 4, seen


@pytest.mark.parametrize("task", TASKS)
def test_killed_at_random_instants(task: str, tmp_path: Path) -> None:
    reference = prepare(tmp_path / "reference")
    before = contents(reference)
    began = time.monotonic()
    assert reference.cli(*words(reference, task)).returncode == 0
    usual = time.monotonic() - began
    after = contents(reference)
    chance = random.Random(20261124)
    for number in range(8):
        agent = prepare(tmp_path / str(number))
        child = subprocess.Popen(
            [*program(), *words(agent, task)],
            env=agent.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(chance.uniform(usual * 0.4, usual * 1.1))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        check_what_is_told(agent, before, after)
