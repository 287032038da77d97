"""Any bytes as an envelope, from an answer to a believed task: refused with an error of ours, or the task itself."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letsbe.agent.trust import believe, is_due
from letsbe.errors import LetsbeError
from letsbe.protocol import TASK_PAYLOAD_TYPE, Envelope, TrustedKey, instant, new_id, pae

KEY = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
TRUSTED = {
    "main": TrustedKey(public_key=b64encode(KEY.public_key().public_bytes_raw()).decode(), executors=["*"]),
}
NOW = 1_800_000_000.0
AGENT, TASK = new_id(), new_id()

instants = st.one_of(
    st.integers(-(2**40), 2**40).map(lambda seconds: instant(NOW + seconds) if abs(seconds) < 2**33 else str(seconds)),
    st.sampled_from(
        ["", "now", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-23", "２０２６-11-23"]
    ),
)
fields: dict[str, st.SearchStrategy[Any]] = {
    "task_id": st.sampled_from([TASK, TASK, TASK, new_id(), TASK + "\n", TASK.upper(), "", None]),
    "agent_id": st.sampled_from([AGENT, AGENT, AGENT, new_id(), 5]),
    "type": st.one_of(st.just("ECHO"), st.text(max_size=5), st.none()),
    "created_at": instants,
    "expires_at": st.one_of(st.just(instant(NOW + 60)), instants),
}
more: dict[str, st.SearchStrategy[Any]] = {
    "not_before": st.one_of(st.none(), instants),
    "schema_version": st.integers(),
    "timeout_s": st.integers(-1, 2**70),
    "payload": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    "requested_by": st.text(max_size=300),
    "no_such_field": st.integers(),
}
documents = st.one_of(
    st.fixed_dictionaries(fields, optional=more).map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)
)


def signed(payload: bytes, kind: str, signers: list[str], spoil: bool) -> bytes:
    """An envelope as it travels."""
    text = pae(kind, payload)
    keys = {"ours": KEY, "other": OTHER}
    signatures = [{"sig": b64encode(keys[name].sign(text) if name in keys else b"x").decode()} for name in signers]
    body = payload + b" " if spoil else payload
    return json.dumps({"payloadType": kind, "payload": b64encode(body).decode(), "signatures": signatures}).encode()


def test_only_what_a_trusted_key_signed_for_this_agent_is_believed(examples: int) -> None:
    @given(
        documents,
        st.sampled_from([TASK_PAYLOAD_TYPE, TASK_PAYLOAD_TYPE, "text/plain", "", "é"]),
        st.lists(st.sampled_from(["ours", "ours", "other", "junk"]), max_size=3),
        st.booleans(),
        st.booleans(),
    )
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(document: bytes, kind: str, signers: list[str], spoil: bool, required: bool) -> None:
        envelope = msgspec.json.decode(signed(document, kind, signers, spoil), type=Envelope)
        try:
            believed = believe(
                envelope,
                offered_as=TASK,
                agent_id=AGENT,
                trusted_keys=TRUSTED,
                require_signatures=required,
                server_now=NOW,
            )
        except LetsbeError as error:
            refused.add(error.code)
            return
        told = json.loads(document)
        assert not required or ("ours" in signers and not spoil)
        assert (told["task_id"], told["agent_id"], kind) == (TASK, AGENT, TASK_PAYLOAD_TYPE)
        assert set(told) <= {*fields, *more} - {"no_such_field"}
        assert is_due(believed.task, NOW) in (True, False)

    refused: set[str] = set()
    run()
    assert refused <= {"untrusted_task", "expired_task", "unsupported_version"}


def test_envelope_of_any_text_is_refused_in_our_words(examples: int) -> None:
    texts = st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: b64encode(raw).decode()))

    @given(texts, texts, st.lists(texts, max_size=3))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(kind: str, payload: str, signatures: list[str]) -> None:
        document = {"payloadType": kind, "payload": payload, "signatures": [{"sig": text} for text in signatures]}
        envelope = msgspec.convert(document, Envelope)
        with pytest.raises(LetsbeError) as raised:
            believe(
                envelope,
                offered_as=TASK,
                agent_id=AGENT,
                trusted_keys=TRUSTED,
                require_signatures=True,
                server_now=NOW,
            )
        assert raised.value.code == "untrusted_task"

    run()
