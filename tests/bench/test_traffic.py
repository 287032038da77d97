"""What an idle poll sends: counted, not timed. Times and memory are measured by tests/bench/run."""

from __future__ import annotations

from pathlib import Path

from tests.bench.poll import measure


def test_an_idle_poll_is_one_small_request(tmp_path: Path) -> None:
    (_, _, traffic), *_ = measure(tmp_path, rounds=1)
    assert traffic.connections == 1
    assert traffic.sent + traffic.received < 4096
