"""Marking what the clock has ended before somebody looks at it.

Looking is frequent and seldom finds anything to mark, so it only reads until it does: the lock for writing, which on
SQLite is one for all, is not for those who look.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement

from letsbe.orchestrator import tables, tasks, views
from letsbe.orchestrator.store import Store


def sweep(store: Store, *, agent_id: str | None = None, task_ids: Sequence[str] | None = None) -> None:
    """Mark what has ended of an agent's tasks, of those with ``task_ids``, or of all."""
    if task_ids is not None:
        for some in views.slices(task_ids):
            _sweep(store, tables.tasks.c.task_id.in_(some))
    elif agent_id is not None:
        _sweep(store, tables.tasks.c.agent_id == agent_id)
    else:
        _sweep(store)


def _sweep(store: Store, *these: ColumnElement[bool]) -> None:
    now = time.time()
    with store.read() as connection:
        found = tasks.has_ended_some(connection, now, *these)
    if found:
        with store.write() as connection:
            tasks.sweep(connection, now, *these)
