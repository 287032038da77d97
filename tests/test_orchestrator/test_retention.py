"""What ended long ago is removed, in small batches, by one process at a time; what has not ended stays."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, insert, select, update

from letsbe.orchestrator import retention
from letsbe.orchestrator.store import Store
from letsbe.orchestrator.tables import enrolments, results, tasks
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import add_agent

DAY = 86_400
OLD = time.time() - 100 * DAY

#: Every state, and whether a task that came to it long ago goes.
STATES = {
    "waiting": False,
    "offered": False,
    "claimed": False,
    "lapsed": False,
    "finished": True,
    "cancelled": True,
    "expired": True,
}


def add_task(home: Orchestrator, agent: str, state: str, ended_at: float | None) -> str:
    """A task in a state, with an outcome if it is finished."""
    task = home.submit("ECHO", agent=agent)
    with home.database() as connection:
        changes = {"state": state, "created_at": OLD - DAY, "finished_at": ended_at}
        connection.execute(update(tasks).where(tasks.c.task_id == task).values(changes))
        if state == "finished":
            connection.execute(insert(results).values(task_id=task, received_at=ended_at, body=b"{}"))
    return task


def count(home: Orchestrator, table: object = tasks) -> int:
    with home.store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [[], ["--check"]], ids=["removed", "counted"])
def test_what_nobody_has_looked_at_since_it_ended_is_removed_too(home: Orchestrator, arguments: list[str]) -> None:
    task = home.submit("ECHO", agent=add_agent(home))
    with home.database() as connection:
        connection.execute(update(tasks).where(tasks.c.task_id == task).values(expires_at=OLD))
    assert " 1 tasks" in home.run("prune", *arguments).stdout
    assert count(home) == len(arguments)


def test_only_what_ended_before_the_span_is_removed(home: Orchestrator) -> None:
    agent = add_agent(home)
    old = {add_task(home, agent, state, OLD if gone else None): gone for state, gone in STATES.items()}
    recent = [add_task(home, agent, state, time.time() - 80 * DAY) for state, gone in STATES.items() if gone]
    with home.database() as connection:
        connection.execute(update(enrolments).values(used_at=OLD))
    home.enrol()  # stays
    home.enrol(expires_s=-100 * DAY)

    assert home.run("prune", "--check").stdout == "would remove 3 tasks, 2 enrolment tokens and 0 runs by hand\n"
    assert count(home) == len(old) + len(recent)
    assert home.run("prune").stdout == "removed 3 tasks, 2 enrolment tokens and 0 runs by hand\n"
    with home.store.read() as connection:
        left = set(connection.scalars(select(tasks.c.task_id)))
    assert left == {task for task, gone in old.items() if not gone} | set(recent)
    assert count(home, results) == 1
    assert count(home, enrolments) == 1
    assert [known.agent_id for known in home.agents()] == [agent]
    done = home.run("prune", "--older-than", "70d")
    assert done.stdout == "removed 3 tasks, 0 enrolment tokens and 0 runs by hand\n"


def test_many_are_removed_batch_by_batch(home: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    agent = add_agent(home)
    for _ in range(10):
        add_task(home, agent, "finished", OLD)
    with home.store.write() as connection:
        assert retention._prune_batch(connection, OLD + 1) == 3
    assert retention.prune(home.store, OLD + 1).tasks == 7
    assert count(home) == count(home, results) == 0


def test_of_many_processes_one_takes_the_turn(home: Orchestrator) -> None:
    stores = [Store(home.home.database_url) for _ in range(6)]
    now = time.time()
    with ThreadPoolExecutor(6) as pool:
        for moment, expected in ((now, 1), (now + 60, 0), (now + retention.EVERY_S, 1)):
            turns = list(pool.map(lambda store, moment=moment: retention.take_turn(store, moment), stores))
            assert turns.count(True) == expected
    for store in stores:
        store.close()


def test_a_turn_that_was_taken_while_the_clock_was_ahead_puts_off_no_other(home: Orchestrator) -> None:
    now = time.time()
    assert retention.take_turn(home.store, now + 3650 * DAY)
    assert retention.take_turn(home.store, now)
    assert not retention.take_turn(home.store, now + retention.EVERY_S - 1)
    assert retention.take_turn(home.store, now + retention.EVERY_S)


def test_serve_prunes_by_itself(home: Orchestrator) -> None:
    home.configure(port=0, retention_days=3)
    agent = add_agent(home)
    add_task(home, agent, "finished", time.time() - 4 * DAY)
    kept = add_task(home, agent, "finished", time.time() - 2 * DAY)
    home.start()
    deadline = time.monotonic() + 30
    while count(home) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert home.task(kept).state == "finished"
    assert count(home) == 1
    assert home.stop() == 0
    assert "removed 1 tasks" in home.log()
