"""Whether a task is believed: signature, addressee, expiry. Nothing else looks at a task before this has."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from letsbe.agent.task_types import types_in
from letsbe.decoding import MAX_DEPTH, decode, is_too_deep
from letsbe.errors import LetsbeError
from letsbe.protocol import MAX_TASK_LIFETIME_S, TASK_PAYLOAD_TYPE, Envelope, Task, TrustedKey, epoch
from letsbe.signatures import MalformedEnvelope, content, signers


class Believed(Struct, frozen=True, kw_only=True):
    """A task, and the public keys (base64) of the trusted keys that signed it."""

    task: Task
    signers: list[str] = []


class Grant(Struct, frozen=True, kw_only=True):
    """What one key may have done: task types, and directories below the roots (None: all of them)."""

    executors: list[str]
    paths: list[str] | None


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
    ``unsupported_version`` (not a task at all), ``invalid_payload`` (nested too deeply for what looks into it).
    """
    try:
        payload = content(envelope)
        signed_by = [trusted_keys[name].public_key for name in signers(envelope, trusted_keys)]
    except MalformedEnvelope as error:
        raise LetsbeError("untrusted_task", f"task {offered_as}: {error}") from None
    if require_signatures and not signed_by:
        raise _unsigned(offered_as, trusted_keys)
    if envelope.payloadType != TASK_PAYLOAD_TYPE:
        raise LetsbeError("unsupported_version", f"task {offered_as}: unknown payload type {envelope.payloadType!r}")
    try:
        task = decode(payload, Task)
    except msgspec.DecodeError as error:
        raise LetsbeError("unsupported_version", f"task {offered_as}: {error}", hint="Upgrade the agent.") from None
    if task.task_id != offered_as:
        raise LetsbeError("untrusted_task", f"task {offered_as} was signed as task {task.task_id}")
    if task.agent_id != agent_id:
        raise LetsbeError("untrusted_task", f"task {offered_as} is for agent {task.agent_id}, not for this one")
    refuse_expired(task, server_now)
    if is_too_deep(task.payload):
        raise LetsbeError(
            "invalid_payload",
            f"task {offered_as}: its payload is nested deeper than {MAX_DEPTH} levels",
            hint="Flatten it.",
        )
    return Believed(task=task, signers=signed_by)


def grant(believed: Believed, trusted_keys: Mapping[str, TrustedKey], *, require_signatures: bool) -> Grant:
    """The rights that a task runs with: those of one key that signed it and is trusted now.

    Rights of several keys are never added up. Of those that signed, the first in the order of ``trusted_keys`` counts
    that may ask for every type in the task; where none may, the first, so that its refusal is told. Raises
    ``untrusted_task`` when none of them is trusted any more.
    """
    task = believed.task
    signing = [key for key in trusted_keys.values() if key.public_key in believed.signers]
    if not signing:
        if require_signatures:
            raise _unsigned(task.task_id, trusted_keys)
        return Grant(executors=["*"], paths=None)
    wanted = types_in(task.type, task.payload)
    key = next((key for key in signing if "*" in key.executors or wanted <= set(key.executors)), signing[0])
    return Grant(executors=key.executors, paths=key.paths)


def _unsigned(task_id: str, trusted_keys: Mapping[str, TrustedKey]) -> LetsbeError:
    return LetsbeError(
        "untrusted_task",
        f"task {task_id}: no signature of a trusted key ({', '.join(trusted_keys) or 'none is trusted'})",
        hint="Trusted keys are under orchestrator.trusted_keys; `letsbe status` shows the pinned ones.",
    )


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
