"""State on a disk that is full or fails: a clear error, nothing twice, nothing lost, no help needed afterwards."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disks import DiskAgent, SmallDisk, failing_poll
from tests.faults.ledger import KINDS, Ledger
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect

#: Accesses to the disk by a poll with a few tasks.
MOST_ACCESSES = 120


@pytest.fixture
def small(orchestrator: Orchestrator, tmp_path: Path) -> Iterator[Ledger]:
    """An enrolled agent whose state is on a disk of its own."""
    disk = SmallDisk(tmp_path / "state")
    try:
        agent = DiskAgent(tmp_path)
        agent.disk = disk
        connect(agent, orchestrator)
        ledger = Ledger(agent, orchestrator, disk.inside)
        ledger.errors.add("state_unusable")
        assert agent.cli("poll").returncode == 0
        yield ledger
    finally:
        disk.close()


def test_full_disk(small: Ledger, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    said: Counter[str] = Counter()
    for number in range(rounds):
        for kind in KINDS if number % 4 == 0 else chance.sample(KINDS, 2):
            small.submit(kind)
        assert isinstance(small.agent, DiskAgent)
        # In pages: from nothing at all to room for some of the steps.
        with small.agent.disk.filled(4096 * (0 if number == 0 else chance.randint(0, 70))):
            said[what_it_says(small.agent.cli("poll", "--now"))] += 1
        if number % 20 == 19:
            small.settle()
            small.check()
    small.settle()
    tally = small.check()
    assert said["state_unusable"], said
    print(f"{rounds} rounds: {dict(said)}; {dict(sorted(tally.items()))}")


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_disk(ledger: Ledger, error: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    ledger.errors.add("state_unusable")
    said: Counter[str] = Counter()
    for number in range(max(4, rounds // 2)):
        ledger.submit_some(chance)
        access = chance.randint(1, MOST_ACCESSES)
        once_or_from_then_on = chance.choice(["", "+"])
        done = failing_poll(ledger.agent, error, f"{access}{once_or_from_then_on}")
        said[what_it_says(done)] += 1
        if number % 20 == 19:
            ledger.settle()
            ledger.check()
    ledger.settle()
    tally = ledger.check()
    print(f"{dict(said)}; {dict(sorted(tally.items()))}")


def what_it_says(done: subprocess.CompletedProcess[bytes]) -> str:
    """Which error a poll ended on; fails on one that nobody foresaw."""
    text = done.stderr.decode()
    assert done.returncode in (0, 1), text
    assert "unexpected" not in text
    assert "Traceback" not in text
    if done.returncode == 0:
        return "nothing"
    assert "state" in text, text
    return "state_unusable"
