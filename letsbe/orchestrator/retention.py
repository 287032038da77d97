"""Removing what ended long ago: tasks with their outcomes, enrolment tokens that admit nobody any more, and what agents
told of runs by hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, text

from letsbe.errors import LetsbeError
from letsbe.orchestrator import sweeping
from letsbe.orchestrator.store import Store
from letsbe.orchestrator.tables import enrolments, host_runs, tasks
from letsbe.orchestrator.tasks import ENDED

log = logging.getLogger("letsbe.orchestrator")

#: Rows that one transaction removes, so that polls never wait for long, and the pause after it in seconds.
BATCH = 500
PAUSE_S = 0.05

#: How often the serving processes prune, all together, and how often each of them asks whether it is its turn; seconds.
EVERY_S = 3600
ASK_S = 600

#: Both databases know this statement (SQLite since 3.24). Due later than a turn taken now would make it: the clock was
#: ahead then.
_TAKE_TURN = text(
    "INSERT INTO chores (name, due_at) VALUES (:name, :next) ON CONFLICT (name)"
    " DO UPDATE SET due_at = excluded.due_at WHERE chores.due_at <= :now OR chores.due_at > :next"
)


class Pruned(Struct, frozen=True):
    """How many were removed, or would be."""

    tasks: int
    enrolments: int
    host_runs: int

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.enrolments} enrolment tokens and {self.host_runs} runs by hand"


def prune(store: Store, before: float, stop: threading.Event | None = None) -> Pruned:
    """Remove what ended before a moment, in seconds since the epoch, a batch at a time until ``stop`` is set.

    A task that has not ended is never removed, however old it is; one that nobody has looked at since it did is.
    """
    sweeping.sweep(store)
    with store.write() as connection:
        spent = connection.execute(delete(enrolments).where(_spent(before))).rowcount
    return Pruned(
        _in_batches(store, _prune_batch, before, stop), spent, _in_batches(store, _prune_host_runs, before, stop)
    )


def prunable(store: Store, before: float) -> Pruned:
    """What :func:`prune` would remove now."""
    sweeping.sweep(store)
    count = select(func.count())
    with store.read() as connection:
        return Pruned(
            connection.scalar(count.select_from(tasks).where(*_ended(before))) or 0,
            connection.scalar(count.select_from(enrolments).where(_spent(before))) or 0,
            connection.scalar(count.select_from(host_runs).where(host_runs.c.told_at < before)) or 0,
        )


def take_turn(store: Store, now: float) -> bool:
    """Whether it is time to prune and no other process has begun to."""
    values = {"name": "prune", "next": now + EVERY_S, "now": now}
    with store.write_once() as connection:
        return connection.execute(_TAKE_TURN, values).rowcount == 1


def keep_pruned(store: Store, days: int, stop: threading.Event) -> None:
    """Prune now and then, in turn with the other serving processes, until ``stop`` is set."""
    while True:
        try:
            now = time.time()
            if take_turn(store, now):
                pruned = prune(store, now - days * 86_400, stop)
                if pruned != Pruned(0, 0, 0):
                    log.info("removed %s", pruned)
        except LetsbeError as error:  # the database is away: the next round comes
            log.warning("can't prune: %s", error.message)
        if stop.wait(ASK_S):
            return


def _in_batches(
    store: Store, remove: Callable[[Connection, float], int], before: float, stop: threading.Event | None
) -> int:
    removed = 0
    while not (stop is not None and stop.is_set()):
        with store.write() as connection:
            batch = remove(connection, before)
        removed += batch
        if batch < BATCH:
            break
        time.sleep(PAUSE_S)
    return removed


def _prune_batch(connection: Connection, before: float) -> int:
    oldest = select(tasks.c.seq).where(*_ended(before)).order_by(tasks.c.finished_at).limit(BATCH)
    found = connection.scalars(oldest.with_for_update(skip_locked=True)).all()
    connection.execute(delete(tasks).where(tasks.c.seq.in_(found)))  # and with them their outcomes
    return len(found)


def _prune_host_runs(connection: Connection, before: float) -> int:
    told_at = host_runs.c.told_at
    last = connection.scalar(select(told_at).where(told_at < before).order_by(told_at).offset(BATCH - 1).limit(1))
    return connection.execute(delete(host_runs).where(told_at < before if last is None else told_at <= last)).rowcount


def _ended(before: float) -> tuple[ColumnElement[bool], ...]:
    return tasks.c.finished_at < before, tasks.c.state.in_(ENDED)


def _spent(before: float) -> ColumnElement[bool]:
    return or_(enrolments.c.used_at < before, enrolments.c.used_at.is_(None) & (enrolments.c.expires_at < before))
