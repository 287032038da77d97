"""The state machine of a task. Every change of ``tasks.state`` is in this file.

    waiting ──poll──► offered ──claim──► claimed ──result──► finished
       │                 │                  │  ▲                ▲
       │                 │      lease runs out  heartbeat,      │
       │                 │                  ▼  │ claim again    │
       ├──cancel──► cancelled ◄──cancel──  lapsed ──late result─┤
       └─expires_at─► expired                                   │
                         └───────────── result ─────────────────┘

A task has one attempt, named when it is first offered. Once claimed it is never offered again, whatever happens: the
orchestrator can't know whether the agent had begun. A lapsed task is one whose agent fell silent: a person sees it,
and its result is still taken. A cancel ends a task that is waiting or offered (offered, not claimed: the claim will
be answered with 410); on a claimed one it is a request, which polls deliver, and the outcome tells the end. A lapsed
one whose cancel nobody answers, since its agent is gone or has lost its journal, ends when it can't be running any
more: not begun after ``expires_at``, it has ``timeout_s`` at most.

An outcome counts whatever the state: an agent may refuse a task that it never claimed, and what was done was done.
Every function works inside the caller's write transaction. ``now`` is in seconds since the epoch.

Several processes may serve one PostgreSQL. What looks through many tasks passes over those that another transaction is
changing (SKIP LOCKED), and what must have a certain one locks one at a time, in the order of their ids: so no
transactions wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator.tables import results, tasks
from letsbe.protocol import AttemptProgress, Envelope, Hold, Outcome, Task, TaskOffer, epoch, instant, new_id

AnyRow = Row[*tuple[Any, ...]]

#: Envelopes in one poll's answer come to no more than this many bytes, unless a single one is larger.
OFFER_BYTES = 4 * 1024 * 1024

#: No lease is longer than a day: one that ends later than this, in seconds, was given while the clock was ahead.
_LEASES_END_S = 2 * 86_400


class State(StrEnum):
    """Where a task is; see the module's text."""

    WAITING = "waiting"
    OFFERED = "offered"
    CLAIMED = "claimed"
    LAPSED = "lapsed"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


#: Not begun by the agent, as far as the orchestrator knows.
UNCLAIMED = (State.WAITING, State.OFFERED)
#: Begun, the outcome not known.
HELD = (State.CLAIMED, State.LAPSED)
NOT_ENDED = (*UNCLAIMED, *HELD)
#: No state follows, unless an outcome arrives after all.
ENDED = (State.FINISHED, State.CANCELLED, State.EXPIRED)


def submit(connection: Connection, signed: Sequence[tuple[Task, Envelope]]) -> None:
    """Queue signed tasks, at least one."""
    connection.execute(insert(tasks), [_waiting(task, envelope) for task, envelope in signed])


def is_known(connection: Connection, task_id: str) -> bool:
    """Whether such a task was submitted before."""
    return connection.scalar(select(tasks.c.seq).where(tasks.c.task_id == task_id)) is not None


def offer(connection: Connection, agent_id: str, now: float, most: int, only: Hold | None = None) -> list[TaskOffer]:
    """The oldest ``most`` tasks that are due; the same ones, with the same attempts, until they are claimed.

    With ``only``, those of the types that this hold allows: else what it keeps waiting would take their places.
    """
    due = connection.execute(
        select(tasks.c.seq, tasks.c.attempt_id, tasks.c.envelope_bytes)
        .where(
            tasks.c.state.in_(UNCLAIMED),
            tasks.c.agent_id == agent_id,
            tasks.c.not_before <= now,
            tasks.c.expires_at > now,
            *(() if only is None else (tasks.c.type.in_(only.allow),)),
        )
        .order_by(tasks.c.seq)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    chosen = _within_budget(due)
    if not chosen:
        return []
    for row in chosen:
        if row.attempt_id is None:
            connection.execute(
                update(tasks).where(tasks.c.seq == row.seq).values(state=State.OFFERED, attempt_id=new_id())
            )
    offered = connection.execute(
        select(tasks.c.task_id, tasks.c.attempt_id, tasks.c.envelope)
        .where(tasks.c.seq.in_([row.seq for row in chosen]))
        .order_by(tasks.c.seq)
    )
    return [
        TaskOffer(
            task_id=row.task_id,
            attempt_id=row.attempt_id,
            envelope=decode(row.envelope, Envelope),
        )
        for row in offered
    ]


def claim(connection: Connection, agent_id: str, task_id: str, attempt_id: str, now: float, lease_s: int) -> None:
    """Give the attempt its lease. Raises ``task_unknown``, ``task_gone``, ``attempt_conflict``."""
    row = _locked(connection, agent_id, task_id)
    if row.state in ENDED:
        raise LetsbeError("task_gone", f"task {task_id} is {row.state}")
    if row.attempt_id != attempt_id:
        raise LetsbeError("attempt_conflict", f"task {task_id} was not offered under attempt {attempt_id}")
    if row.state == State.OFFERED and now >= row.expires_at:
        raise LetsbeError("task_gone", f"task {task_id} expired at {instant(row.expires_at)}")
    _change(connection, task_id, state=State.CLAIMED, lease_until=now + lease_s)


def renew(connection: Connection, agent_id: str, running: Sequence[AttemptProgress], now: float, lease_s: int) -> None:
    """Renew the leases of running attempts and keep their progress; what is not theirs is passed over."""
    for attempt in sorted(running, key=lambda attempt: attempt.task_id):  # one order, so that polls can't deadlock
        connection.execute(
            update(tasks)
            .where(
                tasks.c.task_id == attempt.task_id,
                tasks.c.agent_id == agent_id,
                tasks.c.attempt_id == attempt.attempt_id,
                tasks.c.state.in_(HELD),
            )
            .values(state=State.CLAIMED, lease_until=now + lease_s, progress=_progress(attempt, now))
        )


def cancellations(connection: Connection, agent_id: str) -> list[str]:
    """The tasks that this agent holds and should stop, oldest first."""
    query = select(tasks.c.task_id).where(
        tasks.c.state.in_(HELD), tasks.c.agent_id == agent_id, tasks.c.cancel_requested_at.is_not(None)
    )
    return list(connection.scalars(query.order_by(tasks.c.seq)))


def finish(
    connection: Connection, agent_id: str, task_id: str, attempt_id: str, body: bytes, outcome: Outcome, now: float
) -> bool:
    """Keep the outcome that the agent sent; False when these very bytes were kept before.

    Raises ``task_unknown``, ``attempt_conflict``, ``result_conflict``, ``invalid_request``.
    """
    row = _locked(connection, agent_id, task_id)
    if row.attempt_id != attempt_id:
        raise LetsbeError("attempt_conflict", f"task {task_id} was not offered under attempt {attempt_id}")
    if outcome.task_id not in (None, task_id):
        raise LetsbeError("invalid_request", f"the outcome is of task {outcome.task_id} - at `$.task_id`")
    kept = connection.scalar(select(results.c.body).where(results.c.task_id == task_id))
    if kept is not None:
        if kept != body:
            raise LetsbeError("result_conflict", f"task {task_id} has another outcome already")
        return False
    connection.execute(insert(results).values(task_id=task_id, received_at=now, body=body))
    _change(connection, task_id, state=State.FINISHED, status=outcome.status, finished_at=now, lease_until=None)
    return True


def cancel(connection: Connection, task_id: str, now: float) -> State:
    """Cancel a task, or ask the agent that holds it to. Returns the state it is in then.

    Raises ``task_unknown``, ``task_gone``.
    """
    row = _locked(connection, None, task_id)
    state = State(row.state)
    if state in ENDED:
        raise LetsbeError("task_gone", f"task {task_id} is {state} already")
    if state in UNCLAIMED or (state == State.LAPSED and row.expires_at + row.timeout_s <= now):
        state = State.CANCELLED
        _change(connection, task_id, state=state, cancel_requested_at=now, finished_at=now)
    elif row.cancel_requested_at is None:
        _change(connection, task_id, cancel_requested_at=now)
    return state


def sweep(connection: Connection, now: float, *these: ColumnElement[bool]) -> None:
    """Mark what the clock has ended.

    Unclaimed tasks past ``expires_at``, claimed ones past their lease, and lapsed ones that were cancelled and can't be
    running any more.
    Of all tasks, or of ``these``; see :mod:`letsbe.orchestrator.sweeping`, which reads first.
    """
    for which, values in _ends(now):
        found = connection.scalars(select(tasks.c.seq).where(which, *these).with_for_update(skip_locked=True)).all()
        if found:
            connection.execute(update(tasks).where(tasks.c.seq.in_(found)).values(**values))


def has_ended_some(connection: Connection, now: float, *these: ColumnElement[bool]) -> bool:
    """Whether :func:`sweep` would find any."""
    query = select(tasks.c.seq).where(*these).limit(1)
    return any(connection.scalar(query.where(which)) is not None for which, _ in _ends(now))


def _ends(now: float) -> tuple[tuple[ColumnElement[bool], dict[str, Any]], ...]:
    """What the clock ends, and what becomes of it."""
    expired = and_(tasks.c.state.in_(UNCLAIMED), tasks.c.expires_at <= now)
    lapsed = and_(tasks.c.state == State.CLAIMED, ~tasks.c.lease_until.between(now, now + _LEASES_END_S))
    over = and_(
        tasks.c.state == State.LAPSED,
        tasks.c.cancel_requested_at.is_not(None),
        tasks.c.expires_at + tasks.c.timeout_s <= now,
    )
    return (
        (expired, {"state": State.EXPIRED, "finished_at": tasks.c.expires_at}),
        (lapsed, {"state": State.LAPSED}),
        (over, {"state": State.CANCELLED, "finished_at": now}),
    )


def _waiting(task: Task, envelope: Envelope) -> dict[str, object]:
    encoded = msgspec.json.encode(envelope)
    created_at = epoch(task.created_at)
    return {
        "task_id": task.task_id,
        "agent_id": task.agent_id,
        "type": task.type,
        "state": State.WAITING,
        "check_only": task.check,
        "created_at": created_at,
        "not_before": created_at if task.not_before is None else epoch(task.not_before),
        "expires_at": epoch(task.expires_at),
        "timeout_s": task.timeout_s,
        "requested_by": task.requested_by,
        "envelope": encoded.decode(),
        "envelope_bytes": len(encoded),
    }


def _locked(connection: Connection, agent_id: str | None, task_id: str) -> AnyRow:
    row = connection.execute(
        select(
            tasks.c.agent_id,
            tasks.c.state,
            tasks.c.attempt_id,
            tasks.c.expires_at,
            tasks.c.timeout_s,
            tasks.c.cancel_requested_at,
        )
        .where(tasks.c.task_id == task_id)
        .with_for_update()
    ).one_or_none()
    # Another agent's task is answered like none at all: an agent has no business knowing which tasks exist.
    if row is None or agent_id not in (None, row.agent_id):
        raise LetsbeError("task_unknown", f"no task {task_id}", hint="`letsbe-orchestrator tasks` lists them.")
    return row


def _change(connection: Connection, task_id: str, **values: object) -> None:
    connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(**values))


def _within_budget(due: Sequence[AnyRow]) -> list[AnyRow]:
    chosen: list[AnyRow] = []
    size = 0
    for row in due:
        size += row.envelope_bytes
        if chosen and size > OFFER_BYTES:
            break
        chosen.append(row)
    return chosen


def _progress(attempt: AttemptProgress, now: float) -> dict[str, object]:
    return {
        "at": instant(now),
        "step": attempt.step[:200],
        "percent": attempt.percent,
        "message": attempt.message,
        "tail": attempt.tail,
    }
