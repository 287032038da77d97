"""kill -9 of the orchestrator in the middle of what it writes, on both databases; a PostgreSQL that crashes."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agents import Agent, program
from tests.faults.ledger import Ledger
from tests.orchestrator_fixture import NewDatabase, Orchestrator
from tests.postgres import running
from tests.test_agent.conftest import connect

#: By these an orchestrator leaves something behind: in SQLite's files, with PostgreSQL, or with an agent.
WRITES = "pwrite64,fdatasync,sendto"

#: A thread of it makes about so many while an agent fetches and reports a few tasks.
MOST_WRITES = 12


@pytest.fixture(scope="session")
def database(either_database: NewDatabase) -> NewDatabase:
    """Both."""
    return either_database


@contextmanager
def killed_at_write(orchestrator: Orchestrator, number: int) -> Iterator[None]:
    """Have it killed at the start of the write that is the ``number``-th of one of its threads."""
    inject = f"inject={WRITES}:signal=KILL:when={number}"
    words = ["-f", "-p", str(orchestrator.pid), "-o", "/dev/null", "-e", f"trace={WRITES}", "-e", inject]
    tracer = subprocess.Popen(["strace", *words], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    assert b"attached" in tracer.stderr.readline()
    try:
        yield
    finally:
        orchestrator.stop(signal.SIGKILL)
        tracer.communicate(timeout=60)


def after(seconds: float, act: Callable[[], object]) -> Callable[[], None]:
    """Do something after some seconds."""

    def wait_and_act() -> None:
        time.sleep(seconds)
        act()

    return wait_and_act


def poll_meanwhile(ledger: Ledger, happens: Callable[[], object]) -> bool:
    """A poll during which something happens; whether it came to a good end. No other end is a surprise to it."""
    poll = subprocess.Popen([*program(), "poll", "--now"], env=ledger.agent.environment(), stderr=subprocess.PIPE)
    happens()
    _, error = poll.communicate(timeout=60)
    assert poll.returncode in (0, 1), error.decode()
    assert b"unexpected" not in error
    return poll.returncode == 0


def test_orchestrator_that_is_killed(ledger: Ledger, orchestrator: Orchestrator, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    began = time.monotonic()
    assert ledger.agent.cli("poll", "--now").returncode == 0
    usual_s = time.monotonic() - began
    done = 0
    for number in range(max(4, rounds // 3)):
        ledger.submit_some(chance)
        if number % 2:
            with killed_at_write(orchestrator, chance.randint(1, MOST_WRITES)):
                done += poll_meanwhile(ledger, lambda: None)
        else:
            moment = usual_s * chance.uniform(0.4, 1.3)
            done += poll_meanwhile(ledger, after(moment, lambda: orchestrator.stop(signal.SIGKILL)))
        orchestrator.start()
        if number % 20 == 19:
            ledger.settle()
            ledger.check()
    ledger.settle()
    tally = ledger.check()
    print(f"{done} polls came to their end; {dict(sorted(tally.items()))}")


def test_postgresql_that_crashes(tmp_path: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    with running() as server, server.database() as url:
        orchestrator = Orchestrator(tmp_path / "orchestrator", url)
        try:
            orchestrator.start()
            agent = Agent(tmp_path)
            connect(agent, orchestrator)
            ledger = Ledger(agent, orchestrator)
            began = time.monotonic()
            assert agent.cli("poll").returncode == 0
            usual_s = 1.5 * (time.monotonic() - began)  # that one had nothing to execute
            for number in range(max(3, rounds // 3)):
                ledger.submit_some(chance)
                moment = usual_s * chance.uniform(0.3, 1.2)
                poll_meanwhile(ledger, after(moment, server.stop))
                server.start()
                if number % 20 == 19:
                    ledger.settle()
                    ledger.check()
            ledger.settle()
            print(dict(sorted(ledger.check().items())))
            assert "Traceback" not in orchestrator.log()
        finally:
            orchestrator.close()
