"""Outcomes that are too large: cut, or parked, and never in the way of others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from letsbe.agent.client import RefusedByOrchestrator
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.outbox import PER_POLL, Outbox
from letsbe.protocol import ErrorInfo, Outcome, Problem, instant, new_id
from tests.agents import Agent

LIMIT = 1024


@pytest.fixture
def journal(agent: Agent) -> Iterator[Journal]:
    with contextlib.closing(agent.journal()) as journal:
        yield journal


class Narrow:
    """Something that takes :data:`LIMIT` bytes: the orchestrator, which says so, or a load balancer, which does not."""

    def __init__(self, *, says_so: bool) -> None:
        self._says_so = says_so
        self.taken: dict[str, bytes] = {}

    def report(self, task_id: str, attempt_id: str, outcome: bytes) -> None:
        if len(outcome) > LIMIT:
            problem = Problem(status=413, limit=LIMIT) if self._says_so else Problem()
            raise RefusedByOrchestrator(413, problem, None, "PUT result", is_problem=self._says_so)
        self.taken[task_id] = outcome


def finished(journal: Journal, **changes: Any) -> str:
    task = new_id()
    run = Run(
        id=task, attempt_id=new_id(), origin="orchestrator", caller="{}", type="ECHO", payload="{}", state="received"
    )
    journal.receive(run)
    journal.claimed(task)
    facts = {"type": "ECHO", "status": "failed", "success": False, "agent_version": "1.0.0", **changes}
    journal.finish(task, Outcome(task_id=task, started_at=instant(0), duration_ms=0, **facts))
    return task


def state(journal: Journal, task: str) -> str:
    run = journal.get(task)
    assert run is not None
    return run.state


@pytest.mark.parametrize("says_so", [True, False], ids=["orchestrator", "load balancer"])
def test_an_outcome_is_cut_until_it_is_taken(journal: Journal, says_so: bool) -> None:
    error = ErrorInfo(code="x", message="\u20ac" * 5000, hint="h" * 5000, details={"output": "o" * 5000})
    task = finished(journal, error=error, data={f"key {number}": "d" * 200 for number in range(1000)})
    narrow = Narrow(says_so=says_so)
    assert Outbox(journal, narrow, 1 << 20).deliver() == 1  # type: ignore[arg-type]
    run = journal.get(task)
    assert run is not None
    assert (run.state, run.outcome) == ("acked", narrow.taken[task])
    outcome = run.decoded_outcome()
    assert outcome is not None
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message[:5]) == ("x", "\u20ac" * 5)


@pytest.mark.parametrize("known", [LIMIT, 1 << 20], ids=["limit known", "limit not known"])
def test_outcomes_that_can_not_be_cut_are_parked_and_stop_nothing(journal: Journal, known: int) -> None:
    hopeless = [finished(journal, type="T" * 2000) for _ in range(PER_POLL)]
    small = finished(journal)
    outbox = Outbox(journal, Narrow(says_so=True), known)  # type: ignore[arg-type]
    assert [outbox.deliver(), outbox.deliver()] == [0, 1]
    assert {state(journal, task) for task in hopeless} == {"parked"}
    assert state(journal, small) == "acked"
