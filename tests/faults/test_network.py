"""Exchanges that are dropped, delayed, cut, doubled, out of order or answered by others; a dying orchestrator."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from tests.agents import Agent, program
from tests.faults.kills import killed_poll
from tests.faults.ledger import Ledger
from tests.faults.proxy import FaultProxy
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect

#: Polls that an agent may need to register through a proxy that spoils half of what it asks.
REGISTERING_POLLS = 30


def test_proxy_that_spoils_exchanges(
    orchestrator: Orchestrator, proxy: FaultProxy, tmp_path: Path, rounds: int, seed: int
) -> None:
    chance = random.Random(seed)
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    agent.config_file.write_text(agent.config_file.read_text().replace(orchestrator.url, proxy.url))
    ledger = Ledger(agent, orchestrator)
    proxy.faulty = True
    for _ in range(REGISTERING_POLLS):
        if agent.cli("poll", "--now").returncode == 0:
            break
    for number in range(rounds):
        ledger.submit_some(chance)
        if chance.random() < 0.25:
            killed_poll(agent, chance, 0.8)
        else:
            done = agent.cli("poll", "--now")
            assert done.returncode in (0, 1), done.stderr.decode()
            assert b"unexpected" not in done.stderr
        if number % 20 == 19:
            proxy.faulty = False
            ledger.settle()
            ledger.check()
            proxy.faulty = True
    proxy.faulty = False
    ledger.settle()
    tally = ledger.check()
    print(f"{rounds} rounds: {dict(sorted(proxy.seen.items()))}; {dict(sorted(tally.items()))}")


def test_orchestrator_that_is_killed(ledger: Ledger, orchestrator: Orchestrator, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    began = time.monotonic()
    assert ledger.agent.cli("poll", "--now").returncode == 0
    usual_s = time.monotonic() - began
    done = 0
    for number in range(max(3, rounds // 3)):
        ledger.submit_some(chance)
        poll = subprocess.Popen([*program(), "poll", "--now"], env=ledger.agent.environment(), stderr=subprocess.PIPE)
        time.sleep(usual_s * chance.uniform(0.4, 1.3))
        orchestrator.stop(signal.SIGKILL)
        _, error = poll.communicate(timeout=60)
        assert poll.returncode in (0, 1), error.decode()
        assert b"unexpected" not in error
        orchestrator.start()
        done += poll.returncode == 0
        if number % 20 == 19:
            ledger.settle()
            ledger.check()
    ledger.settle()
    tally = ledger.check()
    print(f"{done} polls came to their end; {dict(sorted(tally.items()))}")
