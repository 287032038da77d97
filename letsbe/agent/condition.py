"""What ``letsbe status`` tells: who the agent is, how it stands with its orchestrator, what it does and what waits."""

from __future__ import annotations

import os
import time
from typing import Annotated

from msgspec import Meta, Struct

from letsbe import __version__
from letsbe.agent import breaker, hold, identity, last_poll
from letsbe.agent.caller import Caller
from letsbe.agent.config import Config
from letsbe.agent.identity import Identity
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.errors import LetsbeError
from letsbe.protocol import Instant, TrustedKey, instant
from letsbe.signatures import key_id, raw_key


class Key(Struct, frozen=True, kw_only=True):
    """A key whose tasks are believed. Public, so nothing secret."""

    name: str
    keyid: Annotated[str, Meta(description="First 16 hex digits of the SHA-256 of the raw public key.")]
    executors: list[str]
    paths: Annotated[list[str] | None, Meta(description="Its tasks stay below these; null: wherever the roots allow.")]
    source: Annotated[str, Meta(description="`configured`, or `pinned`.")]


class Exchange(Struct, frozen=True, kw_only=True):
    """The last exchanges with the orchestrator."""

    answered_at: Annotated[Instant | None, Meta(description="When a poll last succeeded.")] = None
    failures: Annotated[int, Meta(description="How many polls failed since.")] = 0
    reason: Annotated[str, Meta(description="Why they failed, or why the next poll waits.")] = ""
    not_before: Annotated[Instant | None, Meta(description="No poll touches the network before this.")] = None


class Holding(Struct, frozen=True, kw_only=True):
    """The hold that a person put on this host."""

    reason: str
    since: Instant
    until: Instant
    allow: Annotated[list[str], Meta(description="Task types that go on all the same.")]
    by: Annotated[Caller, Meta(description="Who set it.")]


class Task(Struct, frozen=True, kw_only=True):
    """A task in the journal."""

    id: str
    type: str
    origin: str
    since: Instant | None
    step: str = ""
    percent: int | None = None
    message: str = ""
    pid: int | None = None


class Condition(Struct, frozen=True, kw_only=True):
    """The whole of it."""

    version: str
    agent_id: str | None
    orchestrator: str | None
    enrolled: bool
    exchange: Exchange
    hold: Annotated[Holding | None, Meta(description="While it lasts, no other task of the orchestrator begins.")]
    clock_skew_s: Annotated[int | None, Meta(description="The orchestrator's clock less this one; None: small.")]
    running: list[Task]
    waiting: list[Task]
    outbox: Annotated[int, Meta(description="Outcomes that the orchestrator does not have yet.")]
    parked: Annotated[list[Task], Meta(description="Outcomes that it will never take; `message` says why.")]
    trusted_keys: list[Key]
    key_set_version: Annotated[int | None, Meta(description="Of the pinned keys; 0: from the registration.")]


def examine(config: Config) -> Condition:
    """The condition as it is now; nothing is written, not even an empty journal.

    Raises ``state_unusable`` for a user who may not look, ``unsafe_permissions`` when others could have written it.
    """
    journal = _journal(config.state_dir)
    me = identity.load(config.state_dir)
    try:
        return _examine(config, me, journal)
    finally:
        if journal is not None:
            journal.close()


def _examine(config: Config, me: Identity | None, journal: Journal | None) -> Condition:
    started = [] if journal is None else [run for run in journal.in_state("started") if not run.process_is_gone]
    skew = None if journal is None else journal.fact("clock_skew_s")
    return Condition(
        version=__version__,
        agent_id=None if me is None else me.agent_id,
        orchestrator=config.orchestrator.url,
        enrolled=me is not None and me.agent_token is not None,
        exchange=_exchange(config, journal),
        hold=None if journal is None else _holding(journal),
        clock_skew_s=None if skew is None else int(skew),
        running=[_task(run, run.started_at) for run in started],
        waiting=[] if journal is None else [_task(run, run.received_at) for run in journal.in_state("received")],
        outbox=0 if journal is None else journal.outbox_depth(),
        parked=[] if journal is None else [_parked(run) for run in journal.in_state("parked")],
        trusted_keys=_keys(config, me),
        key_set_version=None if me is None or config.orchestrator.trusted_keys else me.key_set_version,
    )


def _journal(state_dir: str) -> Journal | None:
    try:
        os.stat(os.path.join(state_dir, "state.db"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LetsbeError(
            "state_unusable", f"{state_dir}: {error.strerror}", hint="Run as root, or as the user that letsbe runs as."
        ) from error
    return Journal(state_dir)


def _exchange(config: Config, journal: Journal | None) -> Exchange:
    answered = last_poll.when(config.state_dir)
    found = breaker.Breaker() if journal is None else breaker.load(journal)
    return Exchange(
        answered_at=None if answered is None else instant(answered),
        failures=found.failures,
        reason=found.reason if found.failures or found.is_open else "",
        not_before=instant(found.not_before) if found.is_open else None,
    )


def _holding(journal: Journal) -> Holding | None:
    held = hold.current(journal)
    if held is None:
        return None
    since, until = instant(held.since), instant(held.until)
    return Holding(reason=held.reason, since=since, until=until, allow=held.allow, by=held.caller)


def _task(run: Run, since: float | None) -> Task:
    return Task(
        id=run.id,
        type=run.type,
        origin=run.origin,
        since=None if since is None else instant(since),
        step=run.step,
        percent=run.percent,
        message=run.message,
        pid=run.pid,
    )


def _parked(run: Run) -> Task:
    since = run.finished_at or time.time()
    return Task(id=run.id, type=run.type, origin=run.origin, since=instant(since), message=run.note)


def _keys(config: Config, me: Identity | None) -> list[Key]:
    source = "configured" if config.orchestrator.trusted_keys else "pinned"
    keys = config.orchestrator.trusted_keys or ({} if me is None else me.trusted_keys)
    return [
        Key(name=name, keyid=_keyid(name, key), executors=key.executors, paths=key.paths, source=source)
        for name, key in keys.items()
    ]


def _keyid(name: str, key: TrustedKey) -> str:
    try:
        return key_id(raw_key(name, key))
    except LetsbeError:
        return "not a key"
