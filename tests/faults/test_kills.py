"""kill -9 of polls and of their children: nothing is executed twice, no outcome is lost, both sides agree."""

from __future__ import annotations

import random
import time
from collections import Counter

from tests.faults.kills import killed_poll
from tests.faults.ledger import KINDS, Ledger


def test_polls_that_are_killed(ledger: Ledger, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for kind in KINDS:
        ledger.submit(kind)
    began = time.monotonic()
    assert ledger.agent.cli("poll", "--now").returncode == 0
    usual_s = time.monotonic() - began
    ways: Counter[str] = Counter()
    for number in range(rounds):
        ledger.submit_some(chance)
        ways[killed_poll(ledger.agent, chance, usual_s)] += 1
        if number % 20 == 19:
            ledger.settle()
            ledger.check()
    ledger.settle()
    tally = ledger.check()
    print(f"{rounds} rounds of {usual_s:.2f} s: {dict(ways)}; {dict(sorted(tally.items()))}")
