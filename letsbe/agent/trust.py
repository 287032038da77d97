"""Whether a task is believed: signature, addressee, expiry. Nothing else looks at a task before this has."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.protocol import MAX_TASK_LIFETIME_S, TASK_PAYLOAD_TYPE, Envelope, Task, TrustedKey, epoch, pae


class Believed(Struct, frozen=True, kw_only=True):
    """A task, and the task types that its signer may ask for."""

    task: Task
    granted: list[str]


def believe(
    envelope: Envelope,
    *,
    offered_as: str,
    agent_id: str,
    trusted_keys: Mapping[str, TrustedKey],
    require_signatures: bool,
    server_now: float,
) -> Believed:
    """The task of an envelope.

    Raises ``untrusted_task`` (no trusted signature, another agent's, not what it was offered as), ``expired_task``,
    ``unsupported_version`` (not a task at all).
    """
    payload = _base64(envelope.payload, "payload")
    granted = _granted(envelope, payload, trusted_keys)
    if granted is None:
        if require_signatures:
            raise LetsbeError(
                "untrusted_task",
                f"task {offered_as}: no signature of a trusted key ({', '.join(trusted_keys) or 'none is trusted'})",
                hint="Trusted keys are under orchestrator.trusted_keys; `letsbe status` shows the pinned ones.",
            )
        granted = ["*"]
    if envelope.payloadType != TASK_PAYLOAD_TYPE:
        raise LetsbeError("unsupported_version", f"task {offered_as}: unknown payload type {envelope.payloadType!r}")
    try:
        task = msgspec.json.decode(payload, type=Task)
    except msgspec.DecodeError as error:
        raise LetsbeError("unsupported_version", f"task {offered_as}: {error}", hint="Upgrade the agent.") from None
    if task.task_id != offered_as:
        raise LetsbeError("untrusted_task", f"task {offered_as} was signed as task {task.task_id}")
    if task.agent_id != agent_id:
        raise LetsbeError("untrusted_task", f"task {offered_as} is for agent {task.agent_id}, not for this one")
    refuse_expired(task, server_now)
    return Believed(task=task, granted=granted)


def is_due(task: Task, server_now: float) -> bool:
    """Whether a task's ``not_before`` has come, by the orchestrator's clock."""
    return task.not_before is None or server_now >= epoch(task.not_before)


def refuse_expired(task: Task, server_now: float) -> None:
    """Raise ``expired_task`` when the task's time is over, by the orchestrator's clock."""
    try:
        expires = epoch(task.expires_at)
        is_due(task, server_now)
    except ValueError as error:
        raise LetsbeError("unsupported_version", f"task {task.task_id}: {error}") from None
    if expires - server_now > MAX_TASK_LIFETIME_S:
        raise LetsbeError(
            "untrusted_task",
            f"task {task.task_id} would be valid until {task.expires_at}, longer than 30 days",
            hint="Submit it with a shorter --expires: the journal must outlive what could be replayed.",
        )
    if server_now >= expires:
        raise LetsbeError(
            "expired_task",
            f"task {task.task_id} expired at {task.expires_at}",
            hint="Submit it again if it still matters.",
        )


def _granted(envelope: Envelope, payload: bytes, trusted_keys: Mapping[str, TrustedKey]) -> list[str] | None:
    """What all the trusted keys that signed may ask for; None when none did. ``keyid`` is a hint, not a reason."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed = pae(envelope.payloadType, payload)
    granted: list[str] | None = None
    for name, key in trusted_keys.items():
        try:
            public = Ed25519PublicKey.from_public_bytes(b64decode(key.public_key, validate=True))
        except ValueError:
            raise LetsbeError(
                "invalid_config",
                f"trusted key {name}: not base64 of a 32-byte Ed25519 public key",
                hint="Copy it again from the orchestrator.",
            ) from None
        for signature in envelope.signatures:
            try:
                public.verify(_base64(signature.sig, "signature"), signed)
            except InvalidSignature:
                continue
            granted = [*(granted or []), *key.executors]
    return granted


def _base64(text: str, what: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise LetsbeError("untrusted_task", f"the envelope's {what} is not base64") from None
