"""Agents: registration, heartbeat, and finding one by id or host name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Integer,
    and_,
    bindparam,
    case,
    exists,
    insert,
    or_,
    select,
    update,
)

from letsbe.errors import LetsbeError
from letsbe.orchestrator import auth
from letsbe.orchestrator.tables import agents, key_sets, tasks
from letsbe.orchestrator.tasks import NOT_ENDED
from letsbe.protocol import PollRequest, RegisterRequest

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Made once: to put a statement together takes longer than to have it executed.
_HAS_TASKS = exists().where(tasks.c.state.in_(NOT_ENDED), tasks.c.agent_id == bindparam("agent"))
_HAS_NEWER_KEYS = exists().where(key_sets.c.version > bindparam("known_keys", type_=Integer))
_HEARTBEAT = update(agents).where(agents.c.agent_id == bindparam("agent")).returning(or_(_HAS_TASKS, _HAS_NEWER_KEYS))
# When the head of the agent's audit chain can't have grown from the one before, that is kept.
_SEQ = bindparam("head_seq", type_=BigInteger)
_IS_OTHER = and_(agents.c.journal_seq == _SEQ, agents.c.journal_hash != bindparam("head_hash"))
_IS_BEHIND = or_(agents.c.journal_seq > _SEQ, _IS_OTHER)
_HEARTBEAT_WITH_JOURNAL = _HEARTBEAT.values(
    journal_rewritten_at=case((_IS_BEHIND, bindparam("now", type_=Double)), else_=agents.c.journal_rewritten_at)
)


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
    values: dict[str, Any] = {
        "agent": agent_id,
        "last_seen_at": now,
        "version": _plain(request.version),
        "capabilities_digest": _plain(request.capabilities_digest),
        "inventory_digest": _plain(request.inventory_digest),
        "outbox_depth": request.outbox_depth,
        "key_set_version": request.key_set_version,
        "known_keys": request.key_set_version,  # nothing is newer than null
        "hold": None if request.hold is None else msgspec.to_builtins(request.hold),
    }
    if request.journal is None:
        return bool(connection.scalar(_HEARTBEAT, values))
    values |= {"journal_seq": request.journal.seq, "journal_hash": request.journal.hash}
    values |= {"head_seq": request.journal.seq, "head_hash": request.journal.hash, "now": now}
    return bool(connection.scalar(_HEARTBEAT_WITH_JOURNAL, values))


def resolve(connection: Connection, agent: str) -> str:
    """The id of the agent with this id or host name. Raises ``agent_unknown``, ``agent_ambiguous``.

    An id comes first: a host name is what an agent says of itself, and may be another one's id.
    """
    if is_known(connection, agent):
        return agent
    found = connection.scalars(select(agents.c.agent_id).where(agents.c.hostname == agent)).all()
    if not found:
        raise unknown(agent)
    if len(found) > 1:
        raise LetsbeError(
            "agent_ambiguous", f"several agents are {agent!r}", hint=f"Name one by its id: {', '.join(found)}."
        )
    agent_id: str = found[0]
    return agent_id


def is_known(connection: Connection, agent_id: str) -> bool:
    """Whether there is an agent with this id."""
    return connection.scalar(select(agents.c.agent_id).where(agents.c.agent_id == agent_id)) is not None


def unknown(agent: str) -> LetsbeError:
    """That there is no such agent."""
    return LetsbeError("agent_unknown", f"no agent {agent!r}", hint="`letsbe-orchestrator agents` lists them.")


def labelled(connection: Connection, labels: dict[str, str]) -> list[str]:
    """The ids of the agents that have all of ``labels``, by host name; all agents without any.

    Raises ``agent_unknown`` when there are none.
    """
    rows = connection.execute(select(agents.c.agent_id, agents.c.labels).order_by(agents.c.hostname, agents.c.agent_id))
    found = [row.agent_id for row in rows if has_labels(row.labels, labels)]
    if not found:
        wanted = "".join(f" {key}={value}" for key, value in labels.items())
        raise LetsbeError(
            "agent_unknown",
            f"no agent is labelled{wanted}" if labels else "there are no agents",
            hint="`letsbe-orchestrator agents` lists them, with their labels.",
        )
    return found


def has_labels(found: dict[str, str], wanted: dict[str, str]) -> bool:
    """Whether every wanted label is there, with the wanted value."""
    return wanted.items() <= found.items()


def schema_versions(connection: Connection, task_type: str, agent_ids: Sequence[str]) -> dict[str, int]:
    """The version of ``task_type`` that each of the agents said it knows; without those that did not name that type."""
    query = select(agents.c.agent_id, agents.c.executors)
    if len(agent_ids) == 1:  # of many, most of the table is read anyway
        query = query.where(agents.c.agent_id == agent_ids[0])
    executors: dict[str, dict[str, int]] = {row.agent_id: row.executors for row in connection.execute(query)}
    return {agent: executors[agent][task_type] for agent in agent_ids if task_type in executors[agent]}


def _plain(text: str) -> str:
    """Without control characters: they have no meaning in a name, and would have one on a terminal."""
    return _CONTROL.sub("?", text)
