"""What the command line and the pages show of agents and tasks, read from the database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, func, or_, select, tuple_

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator.agents import has_labels
from letsbe.orchestrator.signing import signed_task
from letsbe.orchestrator.tables import agents, results, tasks
from letsbe.orchestrator.tasks import NOT_ENDED
from letsbe.orchestrator.times import SKEW_S
from letsbe.protocol import Envelope, Outcome, instant

#: Outcomes that tell whether an agent fails of late.
RECENT = 5

#: What may be the matter with an agent: one of its :data:`RECENT` outcomes is no success, or it is on hold.
Trouble = Literal["failing", "held"]


class AgentView(Struct, frozen=True, kw_only=True):
    """An agent, and what it said of itself last."""

    agent_id: str
    hostname: str
    version: str
    labels: dict[str, str]
    executors: dict[str, int]
    registered_at: str
    last_seen_at: str | None
    outbox_depth: int
    hold: dict[str, Any] | None
    journal_seq: int | None
    journal_hash: str | None
    journal_rewritten_at: str | None


class TaskView(Struct, frozen=True, kw_only=True):
    """A task. ``status`` is its outcome's, null until there is one."""

    task_id: str
    agent_id: str
    hostname: str
    type: str
    state: str
    status: str | None
    check: bool
    requested_by: str
    created_at: str
    not_before: str
    expires_at: str
    timeout_s: int
    attempt_id: str | None
    lease_until: str | None
    cancel_requested_at: str | None
    finished_at: str | None
    progress: dict[str, Any] | None


class TaskDetail(TaskView, frozen=True, kw_only=True):
    """A task with its outcome, as the agent sent it, and its payload when it was asked for."""

    outcome: Raw | None
    payload: dict[str, Any] | None


def list_agents(
    connection: Connection,
    *,
    labels: dict[str, str] | None = None,
    not_seen_since: float | None = None,
    named: str = "",
    troubled: Trouble | None = None,
    after: str | None = None,
    most: int | None = None,
) -> list[AgentView]:
    """The agents by host name: those with all of ``labels``, and that have not polled since a moment (or never).

    ``named``: a part of the host name. The first ``most`` of them, or those that follow the agent ``after``.
    """
    order = (agents.c.hostname, agents.c.agent_id)
    query = select(agents).order_by(*order)
    if not_seen_since is not None:
        query = query.where(_not_seen(not_seen_since))
    if named:
        query = query.where(agents.c.hostname.icontains(named, autoescape=True))
    if troubled == "failing":
        query = query.where(_failed() > 0)
    if troubled == "held":
        query = query.where(agents.c.hold.is_not(None))
    if after is not None:
        query = query.where(tuple_(*order) > select(*order).where(agents.c.agent_id == after).scalar_subquery())
    rows = connection.execute(query.limit(None if labels else most))
    return [_agent(row) for row in rows if has_labels(row.labels, labels or {})][:most]


def count_agents(connection: Connection, not_seen_since: float) -> tuple[int, int]:
    """How many agents there are, and how many of them have not polled since a moment (or never)."""
    late = select(func.count()).select_from(agents).where(_not_seen(not_seen_since)).scalar_subquery()
    row = connection.execute(select(func.count(), late).select_from(agents)).one()
    return row[0], row[1]


def _not_seen(since: float) -> ColumnElement[bool]:
    return or_(agents.c.last_seen_at.is_(None), ~agents.c.last_seen_at.between(since, time.time() + SKEW_S))


def show_agent(connection: Connection, agent_id: str) -> AgentView:
    """One agent. Raises ``agent_unknown``."""
    row = connection.execute(select(agents).where(agents.c.agent_id == agent_id)).one_or_none()
    if row is None:
        raise LetsbeError("agent_unknown", f"no agent {agent_id}", hint="`letsbe-orchestrator agents` lists them.")
    return _agent(row)


def recent_failures(connection: Connection, agent_ids: Sequence[str]) -> dict[str, int]:
    """How many of the newest :data:`RECENT` outcomes of each agent are no success; those without one are left out."""
    rows = connection.execute(select(agents.c.agent_id, _failed()).where(agents.c.agent_id.in_(agent_ids)))
    return {agent_id: failed for agent_id, failed in rows if failed}


def _failed() -> ScalarSelect[int]:
    recent = (
        select(tasks.c.status)
        .where(tasks.c.agent_id == agents.c.agent_id, tasks.c.state == "finished")
        .order_by(tasks.c.seq.desc())
        .limit(RECENT)
        .correlate(agents)
        .subquery()
    )
    return select(func.count()).select_from(recent).where(recent.c.status != "succeeded").scalar_subquery()


def list_tasks(
    connection: Connection,
    *,
    agent_id: str | None = None,
    state: str | None = None,
    task_type: str | None = None,
    before: str | None = None,
    most: int = 50,
) -> list[TaskView]:
    """The newest ``most`` tasks, newest first; those submitted before the task ``before``, if it is given."""
    query = _tasks().order_by(tasks.c.seq.desc()).limit(most)
    if agent_id is not None:
        query = query.where(tasks.c.agent_id == agent_id)
    if state is not None:
        query = query.where(tasks.c.state == state)
    if task_type is not None:
        query = query.where(tasks.c.type == task_type)
    if before is not None:
        query = query.where(tasks.c.seq < select(tasks.c.seq).where(tasks.c.task_id == before).scalar_subquery())
    return [TaskView(**_fields(row)) for row in connection.execute(query)]


def show_task(connection: Connection, task_id: str, *, with_payload: bool = False) -> TaskDetail:
    """One task whole. A payload may hold secrets, so it comes only when asked for. Raises ``task_unknown``."""
    found = show_tasks(connection, [task_id])
    if not found:
        raise LetsbeError("task_unknown", f"no task {task_id}", hint="`letsbe-orchestrator tasks` lists them.")
    if not with_payload:
        return found[0]
    envelope = connection.scalar(select(tasks.c.envelope).where(tasks.c.task_id == task_id)) or ""
    return msgspec.structs.replace(found[0], payload=signed_task(decode(envelope, Envelope)).payload)


def show_tasks(connection: Connection, task_ids: Sequence[str]) -> list[TaskDetail]:
    """Those tasks, without their payloads, by host name."""
    query = _tasks().add_columns(results.c.body).outerjoin(results, results.c.task_id == tasks.c.task_id)
    found = []
    for some in slices(task_ids):
        for row in connection.execute(query.where(tasks.c.task_id.in_(some))):
            fields = _fields(row)
            body = fields.pop("body")
            found.append(TaskDetail(**fields, outcome=None if body is None else Raw(body), payload=None))
    return sorted(found, key=lambda task: (task.hostname, task.task_id))


def not_ended(connection: Connection, task_ids: Sequence[str]) -> list[str]:
    """Those of the tasks that may still come to something."""
    query = select(tasks.c.task_id).where(tasks.c.state.in_(NOT_ENDED))
    found: list[str] = []
    for some in slices(task_ids):
        found += connection.scalars(query.where(tasks.c.task_id.in_(some)))
    return found


def reason(task: TaskDetail) -> str:
    """What the error in a task's outcome says; nothing without one."""
    error = None if task.outcome is None else decode(task.outcome, Outcome).error
    return "" if error is None else f"{error.code}: {error.message}"


def slices(task_ids: Sequence[str], size: int = 1000) -> Iterator[Sequence[str]]:
    """The ids in parts that a statement can take."""
    return (task_ids[start : start + size] for start in range(0, len(task_ids), size))


def outcome_of(connection: Connection, task_id: str) -> Outcome | None:
    """The outcome of a task, None while there is none."""
    body = connection.scalar(select(results.c.body).where(results.c.task_id == task_id))
    return None if body is None else decode(body, Outcome)


def _agent(row: Row[*tuple[Any, ...]]) -> AgentView:
    return AgentView(
        agent_id=row.agent_id,
        hostname=row.hostname,
        version=row.version,
        labels=row.labels,
        executors=row.executors,
        registered_at=instant(row.registered_at),
        last_seen_at=_instant(row.last_seen_at),
        outbox_depth=row.outbox_depth,
        hold=row.hold,
        journal_seq=row.journal_seq,
        journal_hash=row.journal_hash,
        journal_rewritten_at=_instant(row.journal_rewritten_at),
    )


def _tasks() -> Select[*tuple[Any, ...]]:
    columns = [column for column in tasks.c if column.name not in ("envelope", "envelope_bytes", "seq")]
    return select(agents.c.hostname, *columns).join(agents, agents.c.agent_id == tasks.c.agent_id)


def _fields(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    fields = dict(row._mapping)
    fields["check"] = fields.pop("check_only")
    for name in ("created_at", "not_before", "expires_at", "lease_until", "cancel_requested_at", "finished_at"):
        fields[name] = _instant(fields[name])
    return fields


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else instant(seconds)
