"""With many tasks in the database, looking at a few reads a few, and keeps nobody from writing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text, update

from letsbe.errors import LetsbeError
from letsbe.orchestrator import host_runs, sweeping, tasks, views, waiting
from letsbe.orchestrator import tables as made
from letsbe.protocol import new_id
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import add_agent
from tests.test_orchestrator.visitor import logged_in

BACKLOG = 3_000


@pytest.fixture
def quiet(home: Orchestrator) -> str:
    """An agent without tasks, beside one with many that wait, and with as many runs by hand."""
    agent, busy = add_agent(home, "quiet"), add_agent(home, "busy")
    task = {"agent_id": busy, "type": "ECHO", "state": "waiting", "check_only": False, "created_at": 0, "not_before": 0}
    rest = {"expires_at": 1e12, "timeout_s": 1, "requested_by": "", "envelope_bytes": 2, "envelope": "{}"}
    with home.database() as connection:
        connection.execute(insert(made.tasks), [{**task, **rest, "task_id": new_id()} for _ in range(BACKLOG)])
        runs = [{"agent_id": busy, "run_id": new_id(), "told_at": at, "told": {}} for at in range(BACKLOG)]
        connection.execute(insert(made.host_runs), runs)
        if connection.dialect.name == "postgresql":  # as it does by itself after a while; nobody does it for SQLite
            connection.execute(text("ANALYZE"))
    return agent


#: What is looked for, and the index that it needs; any will do where there are several, whichever the rows favour.
LOOKS: dict[str, tuple[Callable[[Connection, str], Any], str]] = {
    "tasks of an agent": (lambda connection, agent: views.list_tasks(connection, agent_id=agent), "tasks_agent_id_seq"),
    "runs of an agent": (lambda connection, agent: host_runs.latest(connection, agent, 50), "runs_agent_id_told_at"),
    "what has ended of an agent": (
        lambda connection, agent: tasks.has_ended_some(connection, 0, made.tasks.c.agent_id == agent),
        "",
    ),
    "whether a task has ended": (
        lambda connection, agent: tasks.has_ended_some(connection, 0, made.tasks.c.task_id.in_([agent])),
        "",
    ),
}


@pytest.mark.parametrize(("look", "index"), LOOKS.values(), ids=LOOKS.keys())
def test_what_is_looked_for_is_found_by_an_index(
    home: Orchestrator, quiet: str, look: Callable[[Connection, str], Any], index: str
) -> None:
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_others: Any) -> None:
        statements.append((statement, values))

    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (COSTS OFF)"}[home.store.engine.dialect.name]
    with home.store.engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", note)
        look(connection, quiet)
        event.remove(connection, "before_cursor_execute", note)
        for statement, values in statements:
            plan = "\n".join(str(row) for row in connection.exec_driver_sql(f"{explain} {statement}", values))
            assert index in plan
            assert "SCAN" not in plan
            assert "Seq Scan" not in plan.replace("Seq Scan on agents", "")
            assert "(state=?)" not in plan, "all that wait"


def test_waiting_and_looking_take_no_turn_with_those_who_write(orchestrator: Orchestrator) -> None:
    task = orchestrator.submit("ECHO", agent=add_agent(orchestrator))
    visitor = logged_in(orchestrator)
    agent = orchestrator.task(task).agent_id
    with orchestrator.database() as blocker:
        blocker.execute(update(made.chores).values(due_at=0))
        with pytest.raises(LetsbeError, match="timed_out"):
            waiting.await_outcome(orchestrator.store, task, 0)
        assert not waiting.await_all(orchestrator.store, [task], 0)
        for path in ("/tasks", f"/tasks/{task}", f"/agents/{agent}"):
            assert visitor.get(path).status_code == 200
        assert orchestrator.run("show", task).returncode == 0
        assert orchestrator.run("tasks").returncode == 0


def test_what_has_ended_by_the_clock_is_marked_when_it_is_looked_at(home: Orchestrator) -> None:
    agent = add_agent(home)
    ids = [home.submit("ECHO", agent=agent) for _ in range(4)]
    with home.database() as connection:
        connection.execute(update(made.tasks).values(expires_at=time.time() - 1))
    sweeping.sweep(home.store, task_ids=ids[:1])
    assert states(home) == {ids[0]: "expired", **dict.fromkeys(ids[1:], "waiting")}
    with pytest.raises(LetsbeError, match="expired_task"):
        waiting.await_outcome(home.store, ids[1], 0)
    assert waiting.await_all(home.store, ids[:3], 0)
    assert states(home) == {**dict.fromkeys(ids[:3], "expired"), ids[3]: "waiting"}
    sweeping.sweep(home.store, agent_id=new_id())
    assert states(home)[ids[3]] == "waiting"
    sweeping.sweep(home.store, agent_id=agent)
    assert states(home)[ids[3]] == "expired"


def states(home: Orchestrator) -> dict[str, str]:
    with home.store.read() as connection:
        return {task.task_id: task.state for task in views.list_tasks(connection)}
