"""Tasks that count their executions in files, and what must hold of them whatever happened meanwhile."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import yaml

from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator

#: Appends a line, on disk when it ends; the pauses give faults time to come before and after it.
COUNT_SCRIPT = """#!/bin/sh
sleep 0.03
echo "$1" >>{file}
sync -d {file}
sleep 0.03
"""

KINDS = ("SHELL", "FILE_WRITE", "ENV_UPDATE", "COMPOSITE")

#: What a healthy agent may need to settle everything: a poll to report what crashed, another to run what waits.
HEALING_POLLS = 12


class Ledger:
    """The tasks of one agent: each has a word of its own, which it leaves in a file when it is executed."""

    def __init__(self, agent: Agent, orchestrator: Orchestrator, state_dir: Path | None = None) -> None:
        self.agent = agent
        self.orchestrator = orchestrator
        #: Where this process sees the state directory: another path when it is in another mount namespace.
        self.state_dir = state_dir or agent.state_dir
        #: With which errors a task may fail. A child that was killed fails its task.
        self.errors = {"command_failed", "step_failed"}
        self.kinds: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._script = agent.base / "count"
        self._script.write_text(COUNT_SCRIPT.format(file=self._file("shell")))
        self._script.chmod(0o755)
        document = yaml.safe_load(agent.config_file.read_text())
        document["shell"] = {"allow": [{"program": str(self._script), "args": ["<name>"]}]}
        agent.config_file.write_text(yaml.safe_dump(document))

    def submit(self, kind: str) -> str:
        """Submit a task of a kind; its id."""
        word = f"W{len(self.kinds):05d}"
        task = self.orchestrator.submit(kind, self._payload(kind, word), agent=agent_id_of(self))
        self.kinds[task], self._words[task] = kind, word
        return task

    def submit_some(self, chance: random.Random, most: int = 3) -> None:
        """Submit one to ``most`` tasks of any kind."""
        for _ in range(chance.randint(1, most)):
            self.submit(chance.choice(KINDS))

    def _poll(self) -> None:
        """One poll that must succeed; a machine so busy that an answer takes half a minute is no fault of the agent."""
        for _ in range(HEALING_POLLS):
            done = self.agent.cli("poll", "--now")
            if done.returncode == 0:
                return
            assert b"timed out" in done.stderr, done.stderr.decode()
        raise AssertionError(f"no answer in {HEALING_POLLS} polls")

    def settle(self) -> None:
        """Poll without faults until the orchestrator has every outcome; fails when that needs help."""
        for _ in range(HEALING_POLLS):
            if all(self.orchestrator.task(task).state == "finished" for task in self.kinds):
                break
            self._poll()
        self._poll()  # what was delivered twice is acknowledged

    def check(self) -> Counter[str]:
        """Assert what must hold of every task; returns how often each kind came to each status."""
        counts = {name: Counter(self._lines(name)) for name in ("shell", "append", "env")}
        tally: Counter[str] = Counter()
        # A copy: SQLite follows the links of /proc by their text, which leads out of the other mount namespace.
        copy = self.agent.base / "copy"
        shutil.copytree(self.state_dir, copy)
        journal = Journal(str(copy))
        try:
            for task, kind in self.kinds.items():
                outcome = self._outcome(journal.get(task), task)
                self._check_count(task, outcome, counts)
                tally[f"{kind} {outcome['status']}"] += 1
            states = ("received", "started", "finished", "parked")
            left = [run.id for state in states for run in journal.in_state(state) if run.attempt_id is not None]
            assert not left, f"not settled on the agent: {left}"
        finally:
            journal.close()
            shutil.rmtree(copy)
        # Their payloads may hold secrets. What a kill cuts short while it is written is swept a day later.
        assert [path for path in (self.state_dir / "inbox").iterdir() if path.suffix != ".tmp"] == []
        return tally

    def _outcome(self, run: Run | None, task: str) -> dict[str, Any]:
        """The outcome of a task, the same on both sides."""
        there = self.orchestrator.task(task)
        assert there.state == "finished", f"{self.kinds[task]} {task} is {there.state}, and on the agent {run}"
        assert there.outcome is not None
        assert run is not None, f"{task} is not in the journal"
        assert run.state == "acked"
        assert msgspec.json.decode(run.outcome or b"") == msgspec.json.decode(there.outcome)
        outcome: dict[str, Any] = msgspec.json.decode(there.outcome)
        return outcome

    def _check_count(self, task: str, outcome: dict[str, Any], counts: dict[str, Counter[str]]) -> None:
        """Executed at most once; exactly once when it says so, and as it says when it was interrupted."""
        kind, word = self.kinds[task], self._words[task]
        files = {"SHELL": ("shell",), "FILE_WRITE": ("append",), "ENV_UPDATE": ("env",)}.get(kind, tuple(counts))
        found = {name: counts[name][word] for name in files}
        told = f"{kind} {task}: counted {found}, {outcome}"
        assert max(found.values()) <= 1, told
        if outcome["status"] == "succeeded":
            assert set(found.values()) == {1}, told
            assert outcome["changed"] is True, told
        elif outcome["status"] == "failed":
            assert outcome["error"]["code"] in self.errors, told
            # What failed has done nothing, or it was put back.
            assert found.get("append", 0) == found.get("env", 0) == 0, told
        else:
            assert outcome["status"] == "interrupted", told
            for finding in outcome["data"]["findings"]:
                name = next((name for name in files if finding.startswith(f"{self._file(name)} holds the ")), None)
                if name is not None:
                    assert found[name] == finding.endswith("new content"), told

    def _payload(self, kind: str, word: str) -> dict[str, Any]:
        shell: dict[str, Any] = {"argv": [str(self._script), word], "timeout_s": 30}
        append = {"path": str(self._file("append")), "content": f"{word}\n", "mode": "append"}
        env = {"path": str(self._file("env")), "set": {word: "1"}, "create": True}
        steps = [
            {"id": "append", "type": "FILE_WRITE", "payload": append},
            {"id": "env", "type": "ENV_UPDATE", "payload": env},
            {"id": "shell", "type": "SHELL", "payload": shell},
        ]
        payloads = {"SHELL": shell, "FILE_WRITE": append, "ENV_UPDATE": env, "COMPOSITE": {"steps": steps}}
        return payloads[kind]

    def _file(self, name: str) -> Path:
        return self.agent.root / f"{name}.count"

    def _lines(self, name: str) -> list[str]:
        """The words in a counting file; a line of an env file is ``WORD=1``."""
        path = self._file(name)
        lines = path.read_text().split("\n") if path.exists() else []
        return [line.partition("=")[0] for line in lines]


def agent_id_of(ledger: Ledger) -> str:
    """The agent's id, read where this process sees it."""
    from letsbe.agent import identity

    me = identity.load(str(ledger.state_dir))
    assert me is not None
    return me.agent_id
