"""Waiting for the outcomes of tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from letsbe.errors import LetsbeError
from letsbe.orchestrator import sweeping, tasks, views
from letsbe.orchestrator.store import Store
from letsbe.protocol import Outcome


def await_outcome(store: Store, task_id: str, seconds: float) -> Outcome:
    """The outcome of a task, waited for. Raises ``timed_out``, ``cancelled``, ``expired_task``."""
    deadline = time.monotonic() + seconds
    while True:
        sweeping.sweep(store, task_ids=[task_id])
        with store.read() as connection:
            outcome = views.outcome_of(connection, task_id)
            task = views.show_task(connection, task_id)
        if outcome is not None:
            return outcome
        if task.state == tasks.State.CANCELLED:
            taken = task.lease_until is not None
            how = ", and its agent never said what came of it" if taken else " before the agent took it"
            raise LetsbeError("cancelled", f"task {task_id} was cancelled{how}")
        if task.state == tasks.State.EXPIRED:
            raise LetsbeError("expired_task", f"task {task_id} expired before the agent took it")
        if time.monotonic() >= deadline:
            raise LetsbeError(
                "timed_out",
                f"task {task_id} is {task.state} after {seconds:g} s; it goes on",
                hint=f"letsbe-orchestrator show {task_id}",
            )
        time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def await_all(store: Store, task_ids: Sequence[str], seconds: float) -> bool:
    """Wait until all of the tasks have ended; False when some have not after ``seconds``."""
    deadline = time.monotonic() + seconds
    left = list(task_ids)
    while True:
        sweeping.sweep(store, task_ids=left)
        with store.read() as connection:
            left = views.not_ended(connection, left)
        if not left or time.monotonic() >= deadline:
            return not left
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
