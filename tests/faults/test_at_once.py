"""Many polls and hand runs at the same instant: one exchange, one run per resource, no error but ``busy``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.agents import Agent, program
from tests.faults.ledger import KINDS, Ledger
from tests.faults.proxy import FaultProxy
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect

#: Stops itself before it becomes the program, so that all can be let go together.
STOPPED = "import os, signal, sys; os.kill(os.getpid(), signal.SIGSTOP); os.execv(sys.argv[1], sys.argv[1:])"


def start_stopped(agent: Agent, *words: str) -> subprocess.Popen[bytes]:
    """A process that will be ``letsbe`` with these words as soon as it gets SIGCONT."""
    return subprocess.Popen(
        [sys.executable, "-S", "-c", STOPPED, *program(), *words],
        env=agent.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_at_once(processes: list[subprocess.Popen[bytes]]) -> list[tuple[int, bytes, str]]:
    """Let them all go; exit code, standard output and standard error of each."""
    for process in processes:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    for process in processes:
        process.send_signal(signal.SIGCONT)
    ended = [(process, process.communicate(timeout=180)) for process in processes]
    return [(process.returncode, output, error.decode()) for process, (output, error) in ended]


def test_polls_and_hand_runs_at_once(
    orchestrator: Orchestrator, proxy: FaultProxy, tmp_path: Path, at_once: int, seed: int
) -> None:
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    agent.config_file.write_text(agent.config_file.read_text().replace(orchestrator.url, proxy.url))
    ledger = Ledger(agent, orchestrator)
    # Nothing is there yet: they make the state directory, the journal and the identity under each other's feet.
    polls = [start_stopped(agent, "poll", "--now") for _ in range(at_once // 2)]
    shared = agent.root / "shared"
    runs = [start_stopped(agent, *hand_run(shared, number)) for number in range(at_once // 2)]
    random.Random(seed).shuffle(order := [*polls, *runs])
    results = dict(zip(order, run_at_once(order), strict=True))
    check_polls([results[poll] for poll in polls])
    check_hand_runs([results[run] for run in runs], shared)
    for kind in KINDS:
        ledger.submit(kind)
    check_polls(run_at_once([start_stopped(agent, "poll", "--now") for _ in range(at_once // 2)]))
    ledger.settle()
    assert set(ledger.check()) == {f"{kind} succeeded" for kind in KINDS}
    assert proxy.most_polls == 1


def hand_run(path: Path, number: int) -> list[str]:
    payload = {"path": str(path), "content": f"{number}\n", "mode": "append"}
    wait = ["--lock-wait", "60"] if number % 2 else []
    return ["file-write", *wait, json.dumps(payload)]


def check_polls(ended: list[tuple[int, bytes, str]]) -> None:
    assert [(code, error) for code, _, error in ended if code != 0 or error] == []


def check_hand_runs(ended: list[tuple[int, bytes, str]], path: Path) -> None:
    """Those that were told to wait did their work, the others did or say who was before them."""
    written = []
    for number, (code, output, error) in enumerate(ended):
        assert output, error
        outcome: dict[str, Any] = json.loads(output)
        if code == 0:
            written.append(number)
        else:
            assert (code, outcome["error"]["code"]) == (5, "busy"), outcome
            assert number % 2 == 0, "it was told to wait"
            assert str(path) in outcome["error"]["message"]
    assert sorted(map(int, path.read_text().split())) == written
