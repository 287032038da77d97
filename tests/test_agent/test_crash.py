"""kill -9 at every step to disk: files hold what was there between two steps, and the next run tells what that is."""

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
from tests.faults.kills import ON_DISK

#: Agents that are killed side by side.
AT_ONCE = 4

OLD = "A=1\nNAME=old\n" + "# filler\n" * 2000
COMPOSITE = {
    "steps": [
        {"id": "env", "type": "ENV_UPDATE", "payload": {"path": "{root}/app.env", "set": {"NAME": "new"}}},
        {"id": "file", "type": "FILE_WRITE", "payload": {"path": "{root}/second", "content": "second\n"}},
        {"id": "again", "type": "FILE_WRITE", "payload": {"path": "{root}/second", "content": "second, again\n"}},
        {
            "id": "owner",
            "type": "FILE_WRITE",
            "payload": {"path": "{root}/same", "content": "same\n", "owner": "12:34", "perms": "0640"},
        },
        {"id": "last", "type": "FILE_WRITE", "payload": {"path": "{root}/third", "content": "third\n"}},
    ]
}
#: What a file may be beside what it was before the task and is after it.
BETWEEN = {"second": [("second\n", 0o644, 0, 0)], "same": [("same\n", 0o600, 12, 34)]}
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
    (agent.root / "same").write_text("same\n")
    (agent.root / "same").chmod(0o600)
    if like is None:
        agent.cli("history")
    else:
        shutil.copytree(like.state_dir, agent.state_dir)
    return agent


#: Content, mode, owner and group of a file.
State = tuple[str, int, int, int]


def states(agent: Agent) -> dict[str, State]:
    return {path.name: state_of(path) for path in agent.root.iterdir()}


def state_of(path: Path) -> State:
    status = path.stat()
    return (path.read_text(), status.st_mode & 0o7777, status.st_uid, status.st_gid)


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
        trace = ["strace", "-qq", "-e", f"trace={ON_DISK}", "-e", "signal=none", *options, "-p", str(run.pid)]
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


def check_what_is_told(agent: Agent, before: dict[str, State], after: dict[str, State]) -> str:
    """The files are as before, after or between two steps, whole; the journal says how; undo puts the old ones back."""
    left = states(agent)
    runs = agent.json("history", "-n", "1")
    for name, state in states(agent).items():
        assert state in (before.get(name), after.get(name), *BETWEEN.get(name, [])), f"{name} is neither old nor new"
    if not runs:
        assert left == before, "something was changed, and nothing was journaled"
        return "nothing journaled"
    outcome = runs[0]["outcome"]
    assert runs[0]["state"] == "finished"
    if outcome["status"] == "succeeded":
        assert states(agent) == after
        return "succeeded"
    assert outcome["status"] == "interrupted", outcome
    changed = states(agent) != before
    assert outcome["changed"] is changed, outcome
    for finding in outcome["data"]["findings"]:
        path, holds, told = finding.partition(" holds ")
        name = Path(path).name
        if not holds:
            assert finding.startswith("what it had started still ran and was killed: "), finding
            continue
        assert told in expected(states(agent).get(name), before.get(name), after.get(name)), finding
    if changed:
        assert outcome["data"]["findings"]
        undone = agent.json("undo", runs[0]["id"])
        assert undone["success"] is True, undone
        assert states(agent) == before
    return "interrupted"


def expected(now: State | None, before: State | None, after: State | None) -> list[str]:
    """What may be told of a file that holds this."""
    if now == before:
        return ["the old content"]
    if now is not None and before is not None and now[0] == before[0]:
        return ["the old content with another mode or owner"]
    if now == after:
        return ["the new content"]
    return ["the new content", "new content, but not the last that was to be written"]  # where that had not begun


@pytest.mark.parametrize("task", TASKS)
def test_killed_at_every_effect(task: str, tmp_path: Path) -> None:
    fresh = prepare(tmp_path / "fresh")
    reference = prepare(tmp_path / "reference", fresh)
    before = states(reference)
    points = effects(reference, task)
    after = states(reference)
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
    before = states(reference)
    began = time.monotonic()
    assert reference.cli(*words(reference, task)).returncode == 0
    usual = time.monotonic() - began
    after = states(reference)
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
