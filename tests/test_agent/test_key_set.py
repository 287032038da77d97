"""The pinned keys follow signed key sets, forwards only."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from letsbe.agent import identity, key_set
from letsbe.agent.identity import Identity
from letsbe.errors import LetsbeError
from letsbe.protocol import KEY_SET_PAYLOAD_TYPE, TASK_PAYLOAD_TYPE, Envelope, Signature, TrustedKey, new_id, pae
from tests.agents import Agent

OLD, NEW, READER, STRANGER = (Ed25519PrivateKey.generate() for _ in range(4))


def trusted(key: Ed25519PrivateKey, **rights: Any) -> TrustedKey:
    return TrustedKey(public_key=b64encode(key.public_key().public_bytes_raw()).decode(), **rights)


PINNED = {"main": trusted(OLD), "reader": trusted(READER, executors=["ECHO"]), "part": trusted(STRANGER, paths=["/r"])}
NEXT = {"next": trusted(NEW)}


def statement(
    version: int, keys: dict[str, TrustedKey], *signers: Ed25519PrivateKey, kind: str = KEY_SET_PAYLOAD_TYPE
) -> Envelope:
    payload = msgspec.json.encode({"version": version, "keys": keys, "created_at": "2026-11-24T10:00:00Z"})
    signatures = [Signature(sig=b64encode(key.sign(pae(kind, payload))).decode()) for key in signers]
    return Envelope(payloadType=kind, payload=b64encode(payload).decode(), signatures=signatures)


def pinned(agent: Agent, *key_sets: Envelope) -> tuple[int, list[str]]:
    """Follow the key sets; the version and the names that are pinned then, as they are on disk."""
    journal = agent.journal()
    try:
        me = identity.load(str(agent.state_dir)) or Identity(
            agent_id=new_id(), private_key="", url="https://o.example", trusted_keys=PINNED, key_set_version=3
        )
        found = key_set.follow(agent.config, journal, me, key_sets)
        stored = identity.load(str(agent.state_dir)) or found
        assert stored == found
        return found.key_set_version, list(found.trusted_keys)
    finally:
        journal.close()


def test_a_key_set_replaces_the_pinned_keys(agent: Agent) -> None:
    assert pinned(agent, statement(4, NEXT, OLD)) == (4, ["next"])
    assert (agent.state_dir / "identity.json").stat().st_mode & 0o777 == 0o600
    (run,) = json.loads(agent.cli("history").stdout)
    assert (run["type"], run["origin"], run["outcome"]["data"]["signed_by"]) == ("KEY_SET", "orchestrator", "main")


def test_an_agent_that_was_away_follows_the_whole_chain(agent: Agent) -> None:
    last = {"last": trusted(STRANGER)}
    assert pinned(agent, statement(5, {**PINNED, **NEXT}, OLD), statement(6, NEXT, NEW), statement(9, last, NEW)) == (
        9,
        ["last"],
    )


def test_what_was_once_pinned_can_not_be_played_back(agent: Agent) -> None:
    again = statement(4, {"main": trusted(OLD)}, OLD, NEW)
    pinned(agent, again, statement(5, {"main": trusted(OLD), **NEXT}, OLD))
    assert pinned(agent, again) == (5, ["main", "next"])
    assert pinned(agent, statement(5, {"main": trusted(OLD)}, OLD)) == (5, ["main", "next"])


BAD: list[tuple[str, Envelope]] = [
    ("unsigned", statement(4, NEXT)),
    ("a stranger's", statement(4, NEXT, NEW)),
    ("by a key for some types", statement(4, NEXT, READER)),
    ("by a key for some paths", statement(4, NEXT, STRANGER)),
    ("another kind", statement(4, NEXT, OLD, kind=TASK_PAYLOAD_TYPE)),
    ("none to sign the next", statement(4, {"reader": trusted(READER, executors=["ECHO"])}, OLD)),
    ("empty", statement(4, {}, OLD)),
    ("version 0", statement(0, NEXT, OLD)),
    ("no key", statement(4, {**NEXT, "broken": TrustedKey(public_key="short")}, OLD)),
    ("a name for a terminal", statement(4, {"\x1b[2J": trusted(NEW)}, OLD)),
    ("no base64", msgspec.structs.replace(statement(4, NEXT, OLD), payload="%")),
]


@pytest.mark.parametrize("key_sets", [bad for _, bad in BAD], ids=[name for name, _ in BAD])
def test_what_is_not_believed_changes_nothing_and_ends_the_chain(agent: Agent, key_sets: Envelope) -> None:
    with pytest.raises(LetsbeError) as refused:
        key_set.believed(key_sets, PINNED)
    assert refused.value.code == ("invalid_config" if "broken" in refused.value.message else "untrusted_key_set")
    assert pinned(agent, key_sets, statement(5, NEXT, OLD)) == (3, list(PINNED))


def test_the_configuration_s_keys_are_never_changed(agent: Agent) -> None:
    key = msgspec.to_builtins(trusted(OLD))
    agent.configure(orchestrator={"url": "https://o.example", "trusted_keys": {"mine": key}})
    assert pinned(agent, statement(4, NEXT, OLD)) == (3, list(PINNED))
    assert key_set.trusted(agent.config) == {"mine": trusted(OLD)}
