"""What goes over the wire: the structs that agent and orchestrator share.

JSON over HTTPS, the agent always the client; ``docs/protocol.md`` is the published form. A task travels as a
DSSE envelope (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, version 1.0.2).
"""

from __future__ import annotations

import os
import time
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

#: Version of the requests and answers below; part of every path (``/api/v1``).
PROTOCOL_VERSION = 1

#: DSSE payload type of a task.
TASK_PAYLOAD_TYPE = "application/vnd.letsbe.task+json"

#: DSSE payload type of a key set.
KEY_SET_PAYLOAD_TYPE = "application/vnd.letsbe.key-set+json"

#: Media type of every error answer (RFC 9457).
PROBLEM_MEDIA_TYPE = "application/problem+json"

#: Problem types that an agent acts on; any other is only shown. ``agent-unknown`` comes with a 401 on poll.
PROBLEM_AGENT_UNKNOWN = "urn:letsbe:problem:agent-unknown"
PROBLEM_TOKEN_REFUSED = "urn:letsbe:problem:enrolment-token-refused"  # noqa: S105
PROBLEM_FINGERPRINT_MISMATCH = "urn:letsbe:problem:fingerprint-mismatch"
PROBLEM_ATTEMPT_CONFLICT = "urn:letsbe:problem:attempt-conflict"
PROBLEM_TASK_GONE = "urn:letsbe:problem:task-gone"
PROBLEM_RESULT_CONFLICT = "urn:letsbe:problem:result-conflict"
PROBLEM_RESULT_TOO_LARGE = "urn:letsbe:problem:result-too-large"

#: How long a task may be valid, in seconds: the agent's journal remembers every task until its expiry at least.
MAX_TASK_LIFETIME_S = 30 * 86_400

#: Largest request body the reference orchestrator reads, in bytes.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Largest result the reference orchestrator keeps, in bytes; past it the answer is 413 with this limit.
MAX_RESULT_BYTES = 1024 * 1024

#: Most keys in a key set.
MAX_KEYS = 20

#: Most attempts that one poll can name, and so the most whose leases it can renew.
MAX_RUNNING = 100

#: Longest reason of a hold, in characters.
MAX_HOLD_REASON = 200

Status = Literal["succeeded", "failed", "timed_out", "cancelled", "refused", "unsupported", "expired", "interrupted"]

#: Shape of every id on the wire: a UUID in lower case.
ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# The length is said beside the pattern because Python's `$` also matches before a final newline.
Identifier = Annotated[str, Meta(pattern=ID_PATTERN, max_length=36)]
Instant = Annotated[str, Meta(description="RFC 3339, UTC, whole seconds: 2026-11-23T10:00:00Z")]


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """Why a run did not succeed."""

    code: Annotated[str, Meta(description="Stable snake_case word that programs switch on.")]
    message: Annotated[str, Meta(description="What was wrong, with the path, field or value.")]
    hint: Annotated[str, Meta(description="What a person does next.")] = ""
    details: dict[str, Any] = {}


class Outcome(Struct, frozen=True, kw_only=True):
    """What one run came to: on standard output, as a task's result, and as a COMPOSITE step alike."""

    task_id: str | None = None
    type: str
    status: Status
    success: bool
    changed: Annotated[bool, Meta(description="From the state before and after.")] = False
    data: dict[str, Any] = {}
    error: ErrorInfo | None = None
    warnings: list[str] = []
    check: Annotated[bool, Meta(description="Nothing was changed; `changed` says what would be.")] = False
    started_at: Instant
    duration_ms: Annotated[int, Meta(ge=0)]
    agent_version: str


class Task(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order to one agent: the signed payload of an envelope."""

    task_id: Identifier
    agent_id: Identifier
    type: str
    schema_version: Annotated[int, Meta(ge=1)] = 1
    payload: dict[str, Any] = {}
    created_at: Instant
    not_before: Instant | None = None
    expires_at: Instant
    timeout_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    check: bool = False
    requested_by: Annotated[str, Meta(max_length=200)] = ""


class Signature(Struct, frozen=True, kw_only=True):
    """One DSSE signature: ``sig`` is base64 of the 64-byte Ed25519 signature over :func:`pae`."""

    keyid: str = ""
    sig: str


class Envelope(Struct, frozen=True, kw_only=True):
    """A DSSE envelope; ``payload`` is base64 of the task's JSON."""

    payloadType: str
    payload: str
    signatures: list[Signature] = []


class TaskOffer(Struct, frozen=True, kw_only=True):
    """A task that waits for this agent, with the attempt id to claim it under."""

    task_id: Identifier
    attempt_id: Identifier
    envelope: Envelope


class TrustedKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Ed25519 public key, and what the tasks that it signs may do."""

    public_key: Annotated[str, Meta(description="Base64 of the raw 32 bytes.")]
    executors: Annotated[list[str], Meta(description='Task types it may ask for, "*": all.')] = field(
        default_factory=lambda: ["*"]
    )
    paths: Annotated[
        list[str] | None,
        Meta(description="Directories below the roots that its tasks stay in; null: wherever the roots allow."),
    ] = None

    @property
    def may_do_everything(self) -> bool:
        """Whether it is held by nothing but the host's policy. Only such a key may sign a :class:`KeySet`."""
        return "*" in self.executors and self.paths is None


#: The label of a key in a key set.
KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class KeySet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All keys that count from now on, in place of those pinned before: the signed payload of an envelope.

    Believed when a key signed it that is pinned now and may do everything, and ``version`` is above that of the pinned
    set (0: what came with the registration). One of its own keys must be able to sign the next one.
    """

    version: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    keys: Annotated[dict[KeyName, TrustedKey], Meta(min_length=1, max_length=MAX_KEYS)]
    created_at: Instant


class RegisterRequest(Struct, frozen=True, kw_only=True):
    """``POST /api/v1/agents/register``"""

    enrolment_token: Annotated[str, Meta(min_length=1, max_length=200)]
    agent_id: Identifier
    public_key: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
            max_length=44,
            description="Ed25519: base64 of the raw 32 bytes.",
        ),
    ]
    hostname: Annotated[str, Meta(max_length=255)]
    fingerprint: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="SHA-256 of the machine id.")]
    version: Annotated[str, Meta(max_length=64)]
    executors: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[int, Meta(ge=1, le=1_000_000)]],
        Meta(max_length=200, description="Task type -> schema version."),
    ] = {}


class RegisterResponse(Struct, frozen=True, kw_only=True):
    """201. ``trusted_keys`` are pinned by the agent unless its own configuration names some.

    The names in ``trusted_keys`` (``main`` for the reference orchestrator's own key) are labels for people,
    in the host's configuration and in messages. A signature's ``keyid`` is something else: the first 16 hex
    digits of the SHA-256 of the raw public key, a hint only. A verifier tries every key that it trusts.

    A lost answer costs nothing: the same enrolment token with the same id, fingerprint and public key is
    answered again, with another agent token, until the agent has once used a token that it was given. That
    first use ends every other token of the agent.
    """

    agent_token: str
    trusted_keys: dict[str, TrustedKey] = {}
    key_set_version: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    server_time: Instant


class AttemptProgress(Struct, frozen=True, kw_only=True):
    """A running attempt; naming it renews its lease."""

    task_id: Identifier
    attempt_id: Identifier
    step: str = ""
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    message: Annotated[str, Meta(max_length=2_000)] = ""
    tail: Annotated[str, Meta(max_length=8_192)] = ""


class Hold(Struct, frozen=True, kw_only=True):
    """A maintenance hold that a person put on the host."""

    reason: Annotated[str, Meta(max_length=MAX_HOLD_REASON)]
    until: Annotated[Instant, Meta(max_length=40)]
    allow: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(max_length=200, description="Task types that are wanted all the same."),
    ] = []


class HostRun(Struct, frozen=True, kw_only=True):
    """A run that somebody began on the host, by hand or over SSH; nothing of its payload."""

    run_id: Identifier
    finished_at: Annotated[Instant, Meta(max_length=40)]
    type: Annotated[str, Meta(max_length=64)]
    origin: Annotated[str, Meta(max_length=16)]
    who: Annotated[str, Meta(max_length=200)] = ""
    status: Status
    changed: bool
    paths: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=20)] = []
    more_paths: Annotated[int, Meta(ge=0, le=1_000_000_000, description="How many files it changed beside these.")] = 0


class JournalHead(Struct, frozen=True, kw_only=True):
    """The newest row of the agent's audit chain: its number, and its hash."""

    seq: Annotated[int, Meta(ge=0, le=1 << 53)]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]


class PollRequest(Struct, frozen=True, kw_only=True):
    """``POST /api/v1/agents/{agent_id}/poll``: heartbeat, lease renewal and question in one."""

    version: Annotated[str, Meta(max_length=64)]
    capabilities_digest: Annotated[str, Meta(max_length=64)] = ""
    inventory_digest: Annotated[str, Meta(max_length=64)] = ""
    hold: Hold | None = None
    outbox_depth: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    running: Annotated[list[AttemptProgress], Meta(max_length=MAX_RUNNING)] = []
    max_tasks: Annotated[int, Meta(ge=0, le=100)] = 10
    key_set_version: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        Meta(description="Version of the pinned key set; null: the host's configuration names the keys."),
    ] = None
    host_runs: Annotated[
        list[HostRun], Meta(max_length=50, description="Ended since the last poll that was answered with 200.")
    ] = []
    journal: JournalHead | None = None


class PollLimits(Struct, frozen=True, kw_only=True):
    """What the orchestrator is ready to take."""

    result_bytes: Annotated[int, Meta(ge=1024)] = MAX_RESULT_BYTES


class PollResponse(Struct, frozen=True, kw_only=True):
    """200. ``next_poll_s`` is the earliest the agent should ask again (0: at its next tick)."""

    server_time: Instant
    next_poll_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    limits: PollLimits = PollLimits()
    want_inventory: bool = False
    cancel: list[Identifier] = []
    key_sets: Annotated[
        list[Envelope], Meta(description="Key sets above the agent's version, oldest first; taken up before the tasks.")
    ] = []
    tasks: list[TaskOffer] = []


class ClaimResponse(Struct, frozen=True, kw_only=True):
    """200 on ``POST /api/v1/tasks/{task_id}/attempts/{attempt_id}/claim``."""

    lease_s: Annotated[int, Meta(ge=300, le=86_400)]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document. ``limit``: the most bytes that are taken, with a 413."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    limit: int | None = None


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 random bits, sortable by time."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instant(seconds: float) -> str:
    """Seconds since the epoch as an :data:`Instant`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 instant; :class:`ValueError` when it is none or has no zone."""
    from datetime import datetime

    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
