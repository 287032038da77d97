"""docs/protocol.md is what the code speaks, and its worked example verifies."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from letsbe import protocol
from letsbe.agent import key_set, trust
from letsbe.errors import LetsbeError
from letsbe.protocol import Envelope, Task, TrustedKey, epoch, pae

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "protocol.md").read_text()
VECTOR = PAGE.partition("<!-- test vector: begin -->")[2].partition("<!-- test vector: end -->")[0]
BLOCKS = re.findall(r"^```\w+\n(.*?)\n```$", VECTOR, re.MULTILINE | re.DOTALL)
KEYS = dict(re.findall(r"^(\S.*?)  +(\S+)$", BLOCKS[0], re.MULTILINE))
TASK, SIGNED = (text.encode() for text in BLOCKS[1:3])
ENVELOPE = msgspec.json.decode(BLOCKS[3], type=Envelope)


def believe(envelope: Envelope) -> trust.Believed:
    task = msgspec.json.decode(TASK, type=Task)
    return trust.believe(
        envelope,
        offered_as=task.task_id,
        agent_id=task.agent_id,
        trusted_keys={"main": TrustedKey(public_key=KEYS["public key (base64)"], executors=["ECHO"])},
        require_signatures=True,
        server_now=epoch(task.created_at),
    )


def test_the_worked_example_is_believed() -> None:
    believed = believe(ENVELOPE)
    assert believed.task == msgspec.json.decode(TASK, type=Task)
    assert believed.signers == [KEYS["public key (base64)"]]


def test_the_worked_example_says_what_is_signed_byte_for_byte() -> None:
    assert base64.b64decode(ENVELOPE.payload) == TASK
    assert pae(ENVELOPE.payloadType, TASK) == SIGNED
    assert f"The task, {len(TASK)} bytes" in VECTOR
    assert f"What is signed, {len(SIGNED)} bytes" in VECTOR


def test_the_worked_example_can_be_made_again() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KEYS["private key (hex)"]))
    public = key.public_key().public_bytes_raw()
    assert base64.b64encode(public).decode() == KEYS["public key (base64)"]
    assert hashlib.sha256(public).hexdigest()[:16] == KEYS["keyid"] == ENVELOPE.signatures[0].keyid
    assert base64.b64encode(key.sign(SIGNED)).decode() == ENVELOPE.signatures[0].sig


@pytest.mark.parametrize("part", ["payload", "payloadType", "sig"])
def test_one_changed_byte_of_the_worked_example_is_refused(part: str) -> None:
    changed: dict[str, Any] = {"payloadType": ENVELOPE.payloadType + "x"}
    if part == "payload":
        changed = {"payload": base64.b64encode(TASK.replace(b"hello", b"hellp")).decode()}
    elif part == "sig":
        other = base64.b64encode(bytes(64)).decode()
        changed = {"signatures": [msgspec.structs.replace(ENVELOPE.signatures[0], sig=other)]}
    with pytest.raises(LetsbeError) as refused:
        believe(msgspec.structs.replace(ENVELOPE, **changed))
    assert refused.value.code == "untrusted_task"


def test_the_worked_key_set_is_believed_and_can_be_made_again() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    section = PAGE.partition("<!-- key set vector: begin -->")[2].partition("<!-- key set vector: end -->")[0]
    document, sealed = re.findall(r"^```json\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)
    envelope = msgspec.json.decode(sealed, type=Envelope)
    assert base64.b64decode(envelope.payload) == document.encode()
    assert f"The key set, {len(document)} bytes" in section
    pinned = {"main": TrustedKey(public_key=KEYS["public key (base64)"])}
    found, signer = key_set.believed(envelope, pinned)
    assert (found.version, list(found.keys), signer) == (1, ["main", "deploy"], "main")
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KEYS["private key (hex)"]))
    signed = pae(protocol.KEY_SET_PAYLOAD_TYPE, document.encode())
    assert base64.b64encode(key.sign(signed)).decode() == envelope.signatures[0].sig


@pytest.mark.parametrize(
    "struct",
    [
        protocol.RegisterRequest,
        protocol.RegisterResponse,
        protocol.PollRequest,
        protocol.PollResponse,
        protocol.ClaimResponse,
        protocol.Problem,
        protocol.Outcome,
        protocol.KeySet,
    ],
    ids=lambda struct: struct.__name__,
)
def test_each_body_is_shown_with_all_its_fields(struct: type[msgspec.Struct]) -> None:
    shown = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    matching = [body for body in shown if set(body) == set(struct.__struct_fields__)]
    assert matching
    for body in matching:
        msgspec.convert(body, struct)


def test_problem_types_are_told_and_no_others() -> None:
    types = {value for name, value in vars(protocol).items() if name.startswith("PROBLEM_") and "urn:" in value}
    assert set(re.findall(r"urn:letsbe:problem:[a-z-]+", PAGE)) == types


def test_every_field_of_a_task_is_told() -> None:
    section = PAGE.partition("## A task and its envelope")[2].partition("### A worked example")[0]
    assert all(f"`{field}`" in section for field in (*Task.__struct_fields__, *Envelope.__struct_fields__))
