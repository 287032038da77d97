"""What agents tell of runs by hand: kept within bounds, however much of it there is."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from letsbe.orchestrator import host_runs, retention
from letsbe.protocol import HostRun, instant, new_id
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import add_agent

NOW = time.time()


def run(paths: Sequence[str] = (), more_paths: int = 0, run_id: str | None = None) -> HostRun:
    return HostRun(
        run_id=run_id or new_id(),
        finished_at=instant(NOW),
        type="FILE_WRITE",
        origin="local",
        who="root",
        status="succeeded",
        changed=True,
        paths=list(paths),
        more_paths=more_paths,
    )


def told(home: Orchestrator, agent: str | None = None) -> list[HostRun]:
    with home.store.read() as connection:
        return [each for _, each in host_runs.latest(connection, agent, 1_000)]


def test_of_each_agent_the_newest_are_kept(home: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_runs, "MOST", 5)
    agent, other = add_agent(home, "a"), add_agent(home, "b")
    runs = [run(run_id=f"{number:08}-0000-7000-8000-000000000000") for number in range(12)]
    for start in range(0, 12, 3):
        with home.database() as connection:
            host_runs.keep(connection, other, runs[start : start + 1], NOW)
            host_runs.keep(connection, agent, runs[start : start + 3], NOW + start)
            host_runs.keep(connection, agent, runs[start : start + 3], NOW + start)  # told again
    assert {each.run_id for each in told(home, agent)} == {each.run_id for each in runs[7:]}
    assert len(told(home, other)) == 4


def test_of_paths_that_come_to_too_much_the_number_is_kept(home: Orchestrator) -> None:
    agent = add_agent(home)
    longest = "/" + "x" * 4095
    ordinary = [f"/opt/letsbe/stacks/nextcloud/{number}" for number in range(20)]
    given = {
        "ordinary": run(ordinary, 3),
        "longest": run([longest] * 20),
        "escaped": run(["/" + "\u0001" * 4000] * 2, 1_000_000_000),
    }
    with home.database() as connection:
        host_runs.keep(connection, agent, list(given.values()), NOW)
    kept = {each.run_id: each for each in told(home)}
    assert kept[given["ordinary"].run_id] == given["ordinary"]
    assert (kept[given["longest"].run_id].paths, kept[given["longest"].run_id].more_paths) == ([longest], 19)
    assert (kept[given["escaped"].run_id].paths, kept[given["escaped"].run_id].more_paths) == ([], 1_000_000_000)


def test_they_are_removed_with_the_rest_when_their_time_is_over(
    home: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    agent = add_agent(home)
    recent = run()
    with home.database() as connection:
        host_runs.keep(connection, agent, [run() for _ in range(4)], NOW - 100 * 86_400)
        for age in range(92, 99):
            host_runs.keep(connection, agent, [run()], NOW - age * 86_400)
        host_runs.keep(connection, agent, [recent], NOW - 80 * 86_400)
    words = "0 tasks, 1 enrolment tokens and 11 runs by hand"
    assert home.run("prune", "--check").stdout == f"would remove {words}\n"
    assert len(told(home)) == 12
    with home.database() as connection:
        assert retention._prune_host_runs(connection, NOW - 90 * 86_400) == 4, "those of one moment go together"
    assert str(retention.prune(home.store, NOW - 90 * 86_400)) == words.replace("11", "7")
    assert told(home) == [recent]
