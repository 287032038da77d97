"""Making signed tasks out of what a person asked for, and queueing them."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from letsbe.decoding import MAX_DEPTH, decode, is_too_deep
from letsbe.errors import LetsbeError
from letsbe.orchestrator import agents, key_sets, keyring, signing, tasks
from letsbe.orchestrator.home import Home
from letsbe.orchestrator.store import Store
from letsbe.protocol import (
    MAX_BODY_BYTES,
    MAX_TASK_LIFETIME_S,
    TASK_PAYLOAD_TYPE,
    Envelope,
    Task,
    TrustedKey,
    epoch,
    instant,
    new_id,
)
from letsbe.signatures import MalformedEnvelope, content, signers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from sqlalchemy import Connection

#: Largest payload, in bytes of JSON.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024

#: Largest sum of the payloads of one submission to many agents: each gets a signed copy, and all are made in memory.
MAX_SUBMITTED_BYTES = 128 * 1024 * 1024

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class Order(Struct, frozen=True, kw_only=True):
    """What to do, where, and when. Moments are in seconds since the epoch.

    ``agent``: id or host name; None for every agent that has all of ``labels``.
    ``task_id``: one that the caller made, so that the same order sent twice is one task; None makes a new one.
    """

    type: str
    payload: dict[str, Any]
    agent: str | None
    expires_at: float
    labels: dict[str, str] = {}
    not_before: float | None = None
    timeout_s: int = 600
    check: bool = False
    requested_by: str = ""
    task_id: str | None = None


class Submitted(Struct, frozen=True):
    """A queued task; ``known``: the agent said at its registration that it has such an executor."""

    task: Task
    known: bool


def submit(home: Home, store: Store, order: Order) -> Submitted:
    """Sign the task of an order for one agent, and queue it. Raises as :func:`submit_all` does."""
    (submitted,) = submit_all(home, store, order)
    return submitted


def submit_all(home: Home, store: Store, order: Order) -> list[Submitted]:
    """Sign a task for each agent of an order, and queue all of them or none.

    Raises ``agent_unknown``, ``agent_ambiguous``, ``invalid_payload``, ``payload_too_large``, ``usage``,
    ``signing_key_unreadable``, ``no_signing_key``, ``database_unavailable``.
    """
    _check(order)
    with store.read() as connection:
        trusted = key_sets.current(connection, home.public_key())
        keys = keyring.task_keys(home, trusted)
        chosen = _chosen(connection, order)
        versions = agents.schema_versions(connection, order.type, chosen)
    # Before the transaction: polls may have to wait for its end.
    made = [signed(order, agent_id, versions.get(agent_id, 1), keys) for agent_id in chosen]
    with store.write() as connection:
        tasks.submit(connection, made)
    return [Submitted(task, known=task.agent_id in versions) for task, _ in made]


def _chosen(connection: Connection, order: Order) -> list[str]:
    if order.agent is not None:
        return [agents.resolve(connection, order.agent)]
    chosen = agents.labelled(connection, order.labels)
    if len(msgspec.json.encode(order.payload)) * len(chosen) > MAX_SUBMITTED_BYTES:
        raise LetsbeError(
            "payload_too_large",
            f"the payload for {len(chosen)} agents comes to more than {MAX_SUBMITTED_BYTES} bytes",
            hint="Submit it to fewer agents at a time.",
        )
    return chosen


def signed(
    order: Order, agent_id: str, schema_version: int, keys: Sequence[Ed25519PrivateKey]
) -> tuple[Task, Envelope]:
    """The task that an order asks for, and its envelope. Raises ``invalid_payload``, ``usage``."""
    _check(order)
    task = Task(
        task_id=order.task_id or new_id(),
        agent_id=agent_id,
        type=order.type,
        schema_version=schema_version,
        payload=order.payload,
        created_at=instant(time.time()),
        not_before=None if order.not_before is None else instant(order.not_before),
        expires_at=instant(order.expires_at),
        timeout_s=order.timeout_s,
        check=order.check,
        requested_by=order.requested_by,
    )
    _decoded(msgspec.json.encode(task), "the task")  # what is signed is what agents take
    return task, signing.sign(task, keys)


def submit_signed(home: Home, store: Store, envelope: Envelope, public_key: str | None = None) -> Submitted:
    """Queue a task that was signed elsewhere, once the signature has been verified.

    ``public_key``: whose it must be; else that of a key in the newest key set. Raises ``invalid_envelope``,
    ``invalid_payload``, ``untrusted_task``, ``agent_unknown``, ``task_known``, ``usage``.
    """
    with store.write() as connection:
        trusted = key_sets.current(connection, home.public_key()).keys
        if public_key is not None:
            trusted = {"--public-key": TrustedKey(public_key=public_key)}
        task = _verified(envelope, trusted)
        if not agents.is_known(connection, task.agent_id):
            raise agents.unknown(task.agent_id)
        known = bool(agents.schema_versions(connection, task.type, [task.agent_id]))
        if tasks.is_known(connection, task.task_id):
            raise LetsbeError("task_known", f"task {task.task_id} was submitted before", hint="Sign it anew.")
        tasks.submit(connection, [(task, envelope)])
    return Submitted(task, known=known)


def _verified(envelope: Envelope, trusted: dict[str, TrustedKey]) -> Task:
    try:
        if envelope.payloadType != TASK_PAYLOAD_TYPE or not signers(envelope, trusted):
            raise LetsbeError(
                "untrusted_task",
                f"no signature of a trusted key ({', '.join(trusted)})",
                hint="`letsbe-orchestrator keys list` shows them; for a key that only the host trusts: --public-key.",
            )
        task = _decoded(content(envelope), "the envelope")
        _check_names(task.type, task.requested_by)
    except MalformedEnvelope as error:
        raise LetsbeError("invalid_envelope", str(error), hint="Give what `letsbe-orchestrator sign` prints.") from None
    try:
        begins = 0.0 if task.not_before is None else epoch(task.not_before)
        _check_times(epoch(task.expires_at), begins)
        epoch(task.created_at)
    except ValueError as error:
        raise LetsbeError("invalid_envelope", str(error), hint="Instants are like 2026-11-23T10:00:00Z.") from None
    _check_depth(task.payload)
    return task


def _decoded(document: bytes, what: str) -> Task:
    try:
        return decode(document, Task)
    except msgspec.DecodeError as error:
        raise LetsbeError("invalid_envelope", f"{what}: {error}", hint="Sign it with this version.") from error


def read_payload(argument: str) -> dict[str, Any]:
    """The payload that ``argument`` is, or names: JSON, ``@file``, or ``-`` for standard input.

    Raises ``file_unreadable``, ``invalid_json``, ``invalid_payload``, ``payload_too_large``.
    """
    if argument == "-" or argument.startswith("@"):
        source, text = _read(argument.removeprefix("@"), MAX_PAYLOAD_BYTES)
    else:
        source, text = "the payload", os.fsencode(argument)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise LetsbeError("payload_too_large", f"{source} has more than {MAX_PAYLOAD_BYTES} bytes")
    try:
        payload = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LetsbeError(
            "invalid_json", f"{source} is no JSON: {error}", hint="Give a JSON object, @FILE, or - for standard input."
        ) from error
    if not isinstance(payload, dict):
        raise LetsbeError("invalid_payload", f"{source} is JSON, but not an object", hint='Write it like {"key": 1}.')
    return payload


def read_envelope(path: str) -> Envelope:
    """The envelope in a file, or on standard input (``-``). Raises ``file_unreadable``, ``invalid_envelope``."""
    source, text = _read(path, MAX_BODY_BYTES)
    try:
        return decode(text, Envelope)
    except msgspec.DecodeError as error:
        raise LetsbeError(
            "invalid_envelope", f"{source}: {error}", hint="Give what `letsbe-orchestrator sign` prints."
        ) from error


def _read(path: str, most: int) -> tuple[str, bytes]:
    """What to call it, and its first ``most`` bytes and one more."""
    if path == "-":
        return "standard input", sys.stdin.buffer.read(most + 1)
    try:
        with open(path, "rb") as file:
            return path, file.read(most + 1)
    except OSError as error:
        raise LetsbeError("file_unreadable", f"{path}: {error.strerror}", hint="Name a readable file.") from error


def _check(order: Order) -> None:
    _check_names(order.type, order.requested_by)
    _check_depth(order.payload)
    _check_times(order.expires_at, order.not_before or 0)


def _check_depth(payload: Any) -> None:
    if is_too_deep(payload):
        raise LetsbeError(
            "invalid_payload", f"the payload is nested deeper than {MAX_DEPTH} levels", hint="Agents take none such."
        )


def _check_names(task_type: str, requested_by: str) -> None:
    if not _TYPE.fullmatch(task_type):
        raise LetsbeError(
            "usage", f"{task_type!r} is no task type", hint="Types are written like FILE_WRITE, or file-write."
        )
    if len(requested_by) > 200 or not requested_by.isprintable():
        raise LetsbeError(
            "usage",
            "the name of who asks has more than 200 characters, or such as can't be printed",
            hint="Give another --requested-by.",
        )


def _check_times(expires_at: float, not_before: float) -> None:
    if expires_at > time.time() + MAX_TASK_LIFETIME_S:
        raise LetsbeError(
            "usage",
            f"the task would be valid until {instant(expires_at)}; agents take none for over 30 days",
            hint="Give an earlier --expires.",
        )
    if expires_at <= max(time.time(), not_before):
        raise LetsbeError(
            "usage",
            f"the task would expire at {instant(expires_at)}, before it may begin",
            hint="Give a later --expires.",
        )
