"""The chain of key sets: which keys agents shall trust, version by version. Only public halves are in the database."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from sqlalchemy import Connection, func, insert, select

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator import signing
from letsbe.orchestrator.tables import agents, key_sets
from letsbe.protocol import MAX_KEYS, Envelope, KeySet, TrustedKey, epoch, instant
from letsbe.signatures import content

#: Key sets in one answer: an agent that is further behind gets the rest with its next poll.
MOST_AT_ONCE = 50


class Current(Struct, frozen=True):
    """The newest key set; version 0 is the one key of an orchestrator that never changed any."""

    version: int
    keys: dict[str, TrustedKey]


def current(connection: Connection, first_key: str) -> Current:
    """The keys that agents shall trust now. ``first_key``: base64 of the public key that counts before any set."""
    newest = connection.scalar(select(key_sets.c.envelope).order_by(key_sets.c.version.desc()).limit(1))
    if newest is None:
        return Current(0, {signing.KEY_NAME: TrustedKey(public_key=first_key)})
    found = decode(content(decode(newest, Envelope)), KeySet)
    return Current(found.version, found.keys)


def above(connection: Connection, version: int) -> list[Envelope]:
    """The key sets that an agent with this version has not seen, oldest first."""
    rows = connection.scalars(
        select(key_sets.c.envelope).where(key_sets.c.version > version).order_by(key_sets.c.version).limit(MOST_AT_ONCE)
    )
    return [decode(row, Envelope) for row in rows]


def append(
    connection: Connection,
    before: Current,
    keys: dict[str, TrustedKey],
    signers: Sequence[Ed25519PrivateKey],
    now: float,
) -> Current:
    """The next key set, signed by those of ``signers`` that agents will believe.

    Raises ``no_signing_key`` when there is none, ``usage`` when no key of the new set could sign the one after it, and
    for one that no agent could read: it could never be got past.
    """
    if not any(key.may_do_everything for key in keys.values()):
        raise LetsbeError(
            "usage",
            "no key would be left that may do everything: nobody could ever change the keys again",
            hint="Add such a key first: `letsbe-orchestrator keys rotate`.",
        )
    masters = {key.public_key for key in before.keys.values() if key.may_do_everything}
    able = [key for key in signers if signing.public_text(key) in masters]
    if not able:
        raise LetsbeError(
            "no_signing_key",
            "no private key is here that agents believe when keys change",
            hint="Name one with --key: that of a key in `letsbe-orchestrator keys list` that may do everything.",
        )
    document = KeySet(version=before.version + 1, keys=keys, created_at=instant(now))
    _refuse_unreadable(document)
    connection.execute(
        insert(key_sets).values(
            version=document.version,
            created_at=epoch(document.created_at),
            envelope=msgspec.json.encode(signing.sign(document, able)).decode(),
        )
    )
    return Current(document.version, keys)


def followed(connection: Connection) -> dict[int | None, int]:
    """How many agents are at which version; None: those whose own configuration names the keys, or never polled."""
    rows = connection.execute(select(agents.c.key_set_version, func.count()).group_by(agents.c.key_set_version))
    return {row[0]: row[1] for row in rows}


def _refuse_unreadable(document: KeySet) -> None:
    try:
        decode(msgspec.json.encode(document), KeySet)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise LetsbeError(
            "usage",
            f"agents would not take such a key set: {error}",
            hint=f"At most {MAX_KEYS} keys are taken; retire one first: `letsbe-orchestrator keys retire NAME`.",
        ) from error
