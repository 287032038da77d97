"""Tokens: made here, stored as SHA-256 only (they are 256 random bits, so a slow hash would gain nothing).

An enrolment token admits one agent. An agent token is *confirmed* by its first use; that ends every other token of the
agent, and with it the enrolment token's power to be answered again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from letsbe.errors import LetsbeError
from letsbe.orchestrator.store import Store
from letsbe.orchestrator.tables import agent_tokens, agents, enrolments
from letsbe.protocol import instant

#: Unconfirmed tokens kept per agent, so that repeated registrations can't fill the table.
_MOST_UNCONFIRMED = 5

# Made once, as every request begins with it.
_TOKEN = select(agent_tokens).where(agent_tokens.c.token_hash == bindparam("digest"))


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def new_enrolment(connection: Connection, labels: dict[str, str], now: float, lifetime_s: int) -> str:
    """A fresh enrolment token, valid for ``lifetime_s`` seconds; the agent that uses it gets ``labels``."""
    token = f"lbe_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(enrolments).values(
            token_hash=token_hash(token), created_at=now, expires_at=now + lifetime_s, labels=labels
        )
    )
    return token


class Enrolment(Struct, frozen=True):
    """A redeemed enrolment token; ``again``: this agent had used it before, so the answer must have been lost."""

    labels: dict[str, str]
    again: bool


def redeem_enrolment(connection: Connection, token: str, agent_id: str, now: float) -> Enrolment:
    """Mark an enrolment token as used by ``agent_id``.

    The agent that used it may do so again until it has used an agent token. Raises ``enrolment_token_refused``.
    """
    digest = token_hash(token)
    row = connection.execute(
        select(enrolments).where(enrolments.c.token_hash == digest).with_for_update()
    ).one_or_none()
    if row is None or not hmac.compare_digest(row.token_hash, digest):
        raise refused("the enrolment token is not known here")
    if row.used_by is None:
        if now >= row.expires_at:
            raise refused(f"the enrolment token expired at {instant(row.expires_at)}")
        connection.execute(
            update(enrolments).where(enrolments.c.token_hash == digest).values(used_at=now, used_by=agent_id)
        )
    elif row.used_by != agent_id or _is_confirmed(connection, digest):
        raise refused(f"the enrolment token was used at {instant(row.used_at)}")
    return Enrolment(row.labels, again=row.used_by is not None)


def new_agent_token(connection: Connection, agent_id: str, enrolment_token: str, now: float) -> str:
    """A fresh token for ``agent_id``; older ones stay valid until one of them is used."""
    token = f"lba_{secrets.token_urlsafe(32)}"
    unconfirmed = (
        select(agent_tokens.c.token_hash)
        .where(agent_tokens.c.agent_id == agent_id, agent_tokens.c.confirmed_at.is_(None))
        .order_by(agent_tokens.c.issued_at.desc())
        .offset(_MOST_UNCONFIRMED - 1)
    )
    surplus = connection.scalars(unconfirmed).all()
    connection.execute(delete(agent_tokens).where(agent_tokens.c.token_hash.in_(surplus)))
    connection.execute(
        insert(agent_tokens).values(
            token_hash=token_hash(token),
            agent_id=agent_id,
            enrolment_hash=token_hash(enrolment_token),
            issued_at=now,
        )
    )
    return token


def authenticate(store: Store, authorization: str, path_agent: str | None, now: float) -> str:
    """The id of the agent whose bearer token this is. ``path_agent``: whom the URL names, if anyone.

    Raises ``unauthenticated``, ``agent_unknown`` (the URL's agent never registered here), ``foreign_agent``.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise LetsbeError("unauthenticated", "no bearer token came with the request")
    digest = token_hash(token.strip())
    with store.read() as connection:
        row = connection.execute(_TOKEN, {"digest": digest}).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, digest):
            if path_agent is not None and not _is_known(connection, path_agent):
                raise LetsbeError("agent_unknown", f"agent {path_agent} is not registered here")
            raise LetsbeError("unauthenticated", "the bearer token is not valid")
    agent_id: str = row.agent_id
    if path_agent not in (None, agent_id):
        raise LetsbeError("foreign_agent", f"the bearer token is not agent {path_agent}'s")
    if row.confirmed_at is None:
        _confirm(store, digest, agent_id, now)
    return agent_id


def _confirm(store: Store, digest: str, agent_id: str, now: float) -> None:
    own = agent_tokens.c.agent_id == agent_id
    with store.write() as connection:
        # Locked in one order: two tokens that are used at once for the first time would end each other.
        query = select(agent_tokens.c.token_hash).where(own).order_by(agent_tokens.c.token_hash).with_for_update()
        if digest not in connection.scalars(query).all():
            raise LetsbeError("unauthenticated", "another token of the agent was used first")
        connection.execute(update(agent_tokens).where(agent_tokens.c.token_hash == digest).values(confirmed_at=now))
        connection.execute(delete(agent_tokens).where(own, agent_tokens.c.token_hash != digest))


def _is_confirmed(connection: Connection, enrolment_hash: str) -> bool:
    """Whether an agent token made for this enrolment was ever used, or is gone because a later one was."""
    query = select(agent_tokens.c.confirmed_at).where(agent_tokens.c.enrolment_hash == enrolment_hash)
    issued = connection.scalars(query).all()
    return not issued or any(moment is not None for moment in issued)


def _is_known(connection: Connection, agent_id: str) -> bool:
    return connection.scalar(select(agents.c.agent_id).where(agents.c.agent_id == agent_id)) is not None


def refused(reason: str) -> LetsbeError:
    """The error of an enrolment token that is not honoured."""
    return LetsbeError("enrolment_token_refused", reason, hint="Ask for a new one: `letsbe-orchestrator enrol`.")
