"""Making signed tasks out of what a person asked for, and waiting for their outcomes."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.orchestrator import agents, signing, tasks, views
from letsbe.orchestrator.home import Home
from letsbe.orchestrator.store import Store
from letsbe.protocol import MAX_TASK_LIFETIME_S, Outcome, Task, instant, new_id

#: Largest payload, in bytes of JSON.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024

#: Largest sum of the payloads of one submission to many agents: each gets a signed copy, and all are made in memory.
MAX_SUBMITTED_BYTES = 128 * 1024 * 1024

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class Order(Struct, frozen=True, kw_only=True):
    """What to do, where, and when. Moments are in seconds since the epoch.

    ``agent``: id or host name; None for every agent that has all of ``labels``.
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
    ``signing_key_unreadable``, ``database_unavailable``.
    """
    _check(order)
    key = signing.load_key(home.signing_key)
    with store.read() as connection:
        if order.agent is None:
            chosen = agents.labelled(connection, order.labels)
        else:
            chosen = [agents.resolve(connection, order.agent)]
        versions = agents.schema_versions(connection, order.type, chosen)
    if len(msgspec.json.encode(order.payload)) * len(chosen) > MAX_SUBMITTED_BYTES:
        raise LetsbeError(
            "payload_too_large",
            f"the payload for {len(chosen)} agents comes to more than {MAX_SUBMITTED_BYTES} bytes",
            hint="Submit it to fewer agents at a time.",
        )
    made = [_task(order, agent_id, versions.get(agent_id, 1)) for agent_id in chosen]
    signed = [(task, signing.sign(task, key)) for task in made]  # before the transaction: polls may wait for its end
    with store.write() as connection:
        tasks.submit(connection, signed)
    return [Submitted(task, known=task.agent_id in versions) for task in made]


def await_all(store: Store, task_ids: Sequence[str], seconds: float) -> bool:
    """Wait until all of the tasks have ended; False when some have not after ``seconds``."""
    deadline = time.monotonic() + seconds
    left = list(task_ids)
    while True:
        with store.write() as connection:
            tasks.sweep(connection, time.time())
            left = views.not_ended(connection, left)
        if not left or time.monotonic() >= deadline:
            return not left
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))


def _task(order: Order, agent_id: str, version: int) -> Task:
    return Task(
        task_id=new_id(),
        agent_id=agent_id,
        type=order.type,
        schema_version=version,
        payload=order.payload,
        created_at=instant(time.time()),
        not_before=None if order.not_before is None else instant(order.not_before),
        expires_at=instant(order.expires_at),
        timeout_s=order.timeout_s,
        check=order.check,
        requested_by=order.requested_by,
    )


def await_outcome(store: Store, task_id: str, seconds: float) -> Outcome:
    """The outcome of a task, waited for. Raises ``timed_out``, ``cancelled``, ``expired_task``."""
    deadline = time.monotonic() + seconds
    while True:
        with store.write() as connection:
            tasks.sweep(connection, time.time())
            outcome = views.outcome_of(connection, task_id)
            state = views.show_task(connection, task_id).state
        if outcome is not None:
            return outcome
        if state == tasks.State.CANCELLED:
            raise LetsbeError("cancelled", f"task {task_id} was cancelled before the agent took it")
        if state == tasks.State.EXPIRED:
            raise LetsbeError("expired_task", f"task {task_id} expired before the agent took it")
        if time.monotonic() >= deadline:
            raise LetsbeError(
                "timed_out",
                f"task {task_id} is {state} after {seconds:g} s; it goes on",
                hint=f"letsbe-orchestrator show {task_id}",
            )
        time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))


def read_payload(argument: str) -> dict[str, Any]:
    """The payload that ``argument`` is, or names: JSON, ``@file``, or ``-`` for standard input.

    Raises ``file_unreadable``, ``invalid_json``, ``invalid_payload``, ``payload_too_large``.
    """
    source, text = _payload_text(argument)
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


def _payload_text(argument: str) -> tuple[str, bytes]:
    if argument == "-":
        return "standard input", sys.stdin.buffer.read(MAX_PAYLOAD_BYTES + 1)
    if not argument.startswith("@"):
        return "the payload", os.fsencode(argument)
    path = argument[1:]
    try:
        with open(path, "rb") as file:
            return path, file.read(MAX_PAYLOAD_BYTES + 1)
    except OSError as error:
        raise LetsbeError("file_unreadable", f"{path}: {error.strerror}", hint="Name a readable file.") from error


def _check(order: Order) -> None:
    if not _TYPE.fullmatch(order.type):
        raise LetsbeError(
            "usage", f"{order.type!r} is no task type", hint="Types are written like FILE_WRITE, or file-write."
        )
    if len(order.requested_by) > 200:
        raise LetsbeError("usage", "--requested-by has more than 200 characters", hint="Shorten it.")
    if order.expires_at > time.time() + MAX_TASK_LIFETIME_S:
        raise LetsbeError(
            "usage",
            f"the task would be valid until {instant(order.expires_at)}; agents take none for over 30 days",
            hint="Give an earlier --expires.",
        )
    if order.expires_at <= max(time.time(), order.not_before or 0):
        raise LetsbeError(
            "usage",
            f"the task would expire at {instant(order.expires_at)}, before it may begin",
            hint="Give a later --expires.",
        )
