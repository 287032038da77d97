"""The goals for start-up, held as ratios of the best of several runs in turn."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.bench.poll import measure
from tests.bench.startup import ECHO, pack_onedir

ROOT = Path(__file__).resolve().parents[2]


def test_echo_takes_at_most_1_7_times_a_onedir_of_the_same_code() -> None:
    contenders = [ROOT / "dist" / "letsbe", pack_onedir()]
    best = [9.9, 9.9]
    for _ in range(20):
        for number, program in enumerate(contenders):
            start = time.perf_counter()
            subprocess.run([program, *ECHO], check=True, stdout=subprocess.DEVNULL)
            best[number] = min(best[number], time.perf_counter() - start)
    assert best[0] <= 1.7 * best[1]


def test_an_idle_poll_takes_at_most_1_5_times_one_bare_request_and_45_mb(tmp_path: Path) -> None:
    (_, built, traffic), _, (_, bare, _) = measure(tmp_path, rounds=12)
    assert min(cost.wall_s for cost in built) <= 1.5 * min(cost.wall_s for cost in bare)
    assert max(cost.rss_mb for cost in built) <= 45
    assert traffic.connections == 1
    assert traffic.sent + traffic.received < 4096
