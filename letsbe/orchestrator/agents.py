"""Agents: registration, heartbeat, and finding one by id or host name."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, exists, insert, or_, select, update

from letsbe.errors import LetsbeError
from letsbe.orchestrator import auth
from letsbe.orchestrator.tables import agents, key_sets, tasks
from letsbe.orchestrator.tasks import NOT_ENDED
from letsbe.protocol import JournalHead, PollRequest, RegisterRequest

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def register(connection: Connection, request: RegisterRequest, now: float) -> str:
    """Admit an agent and return its token.

    Raises ``enrolment_token_refused``, ``fingerprint_mismatch``.
    """
    enrolment = auth.redeem_enrolment(connection, request.enrolment_token, request.agent_id, now)
    known = connection.execute(
        select(agents.c.fingerprint, agents.c.public_key).where(agents.c.agent_id == request.agent_id)
    ).one_or_none()
    facts = {
        "public_key": request.public_key,
        "hostname": _plain(request.hostname),
        "version": _plain(request.version),
        "executors": request.executors,
        "labels": enrolment.labels,
        "registered_at": now,
    }
    if known is None:
        connection.execute(insert(agents).values(agent_id=request.agent_id, fingerprint=request.fingerprint, **facts))
    elif known.fingerprint != request.fingerprint:
        raise LetsbeError(
            "fingerprint_mismatch",
            f"agent {request.agent_id} is registered from another machine",
            hint="A copied state directory? Remove the identity on the copy, and enrol it as an agent of its own.",
        )
    elif enrolment.again and known.public_key != request.public_key:
        raise auth.refused("the enrolment token was used with another public key")
    else:
        connection.execute(update(agents).where(agents.c.agent_id == request.agent_id).values(**facts))
    return auth.new_agent_token(connection, request.agent_id, request.enrolment_token, now)


def heartbeat(connection: Connection, agent_id: str, request: PollRequest, now: float) -> bool:
    """Note what an agent says of itself in a poll; whether a task of it has not ended, or it lacks a key set.

    One statement, because it is all that most polls come to.
    """
    is_awaited: ColumnElement[bool] = exists().where(tasks.c.state.in_(NOT_ENDED), tasks.c.agent_id == agent_id)
    if request.key_set_version is not None:
        is_awaited = or_(is_awaited, exists().where(key_sets.c.version > request.key_set_version))
    found = connection.scalar(
        update(agents)
        .where(agents.c.agent_id == agent_id)
        .values(
            last_seen_at=now,
            version=_plain(request.version),
            capabilities_digest=_plain(request.capabilities_digest),
            inventory_digest=_plain(request.inventory_digest),
            outbox_depth=request.outbox_depth,
            key_set_version=request.key_set_version,
            hold=None if request.hold is None else msgspec.to_builtins(request.hold),
            **_journal(request.journal, now),
        )
        .returning(is_awaited)
    )
    return bool(found)


def _journal(head: JournalHead | None, now: float) -> dict[str, Any]:
    """The head of the agent's audit chain; when it can't have grown from the one before, that is kept."""
    if head is None:
        return {}
    other = and_(agents.c.journal_seq == head.seq, agents.c.journal_hash != head.hash)
    rewritten = case((or_(agents.c.journal_seq > head.seq, other), now), else_=agents.c.journal_rewritten_at)
    return {"journal_seq": head.seq, "journal_hash": head.hash, "journal_rewritten_at": rewritten}


def resolve(connection: Connection, agent: str) -> str:
    """The id of the agent with this id or host name. Raises ``agent_unknown``, ``agent_ambiguous``."""
    found = connection.scalars(
        select(agents.c.agent_id).where(or_(agents.c.agent_id == agent, agents.c.hostname == agent))
    ).all()
    if not found:
        raise LetsbeError("agent_unknown", f"no agent {agent!r}", hint="`letsbe-orchestrator agents` lists them.")
    if len(found) > 1:
        raise LetsbeError(
            "agent_ambiguous", f"several agents are {agent!r}", hint=f"Name one by its id: {', '.join(found)}."
        )
    agent_id: str = found[0]
    return agent_id


def schema_version(connection: Connection, agent_id: str, task_type: str) -> int | None:
    """The version of ``task_type`` that the agent said it knows; None when it did not name that type."""
    executors: dict[str, int] = connection.scalar(select(agents.c.executors).where(agents.c.agent_id == agent_id)) or {}
    return executors.get(task_type)


def _plain(text: str) -> str:
    """Without control characters: they have no meaning in a name, and would have one on a terminal."""
    return _CONTROL.sub("?", text)
