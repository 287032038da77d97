# ruff: noqa: E501 - a table
"""Which tasks are believed: the table of those that are not."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from letsbe.agent.trust import Believed, believe, grant
from letsbe.errors import LetsbeError
from letsbe.protocol import TASK_PAYLOAD_TYPE, Envelope, Signature, Task, TrustedKey, epoch, instant, new_id, pae

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ME = new_id()
NOW = epoch("2026-11-24T10:00:00Z")


def task(**more: Any) -> dict[str, Any]:
    made = Task(
        task_id=more.pop("task_id", new_id()),
        agent_id=more.pop("agent_id", ME),
        type="ECHO",
        created_at=instant(NOW),
        expires_at=more.pop("expires_at", instant(NOW + 60)),
    )
    values: dict[str, Any] = {**msgspec.to_builtins(made), **more}
    return values


def envelope(document: Any, *keys: Ed25519PrivateKey, kind: str = TASK_PAYLOAD_TYPE) -> Envelope:
    payload = msgspec.json.encode(document)
    signatures = [Signature(sig=b64encode(key.sign(pae(kind, payload))).decode()) for key in keys]
    return Envelope(payloadType=kind, payload=b64encode(payload).decode(), signatures=signatures)


def sealed_bytes(payload: bytes) -> Envelope:
    signature = Signature(sig=b64encode(KEY.sign(pae(TASK_PAYLOAD_TYPE, payload))).decode())
    return Envelope(payloadType=TASK_PAYLOAD_TYPE, payload=b64encode(payload).decode(), signatures=[signature])


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()


def trusted(**keys: tuple[Ed25519PrivateKey, list[str], list[str] | None]) -> dict[str, TrustedKey]:
    return {
        name: TrustedKey(public_key=public(key), executors=executors, paths=paths)
        for name, (key, executors, paths) in keys.items()
    }


def judge(
    sealed: Envelope, offered_as: str, *, require: bool = True, keys: dict[str, TrustedKey] | None = None
) -> Believed:
    return believe(
        sealed,
        offered_as=offered_as,
        agent_id=ME,
        trusted_keys=keys or trusted(main=(KEY, ["*"], None)),
        require_signatures=require,
        server_now=NOW,
    )


def test_signed_task_is_believed() -> None:
    document = task()
    believed = judge(envelope(document, KEY), document["task_id"])
    assert believed.task.task_id == document["task_id"]
    assert believed.signers == [public(KEY)]


@pytest.mark.parametrize(
    ("signing", "steps", "expected"),
    [
        ([KEY], ["ECHO"], (["COMPOSITE", "ECHO"], ["/r/a"])),
        ([OTHER, KEY], ["ECHO"], (["COMPOSITE", "ECHO"], ["/r/a"])),
        ([KEY, OTHER], ["FILE_WRITE"], (["COMPOSITE", "FILE_WRITE"], ["/r/b"])),
        ([KEY, OTHER], ["ECHO", "FILE_WRITE"], (["COMPOSITE", "ECHO"], ["/r/a"])),
    ],
    ids=["the one", "the first that may", "the one that may", "none alone may: the first, which is refused"],
)
def test_the_rights_are_those_of_one_key_alone(
    signing: list[Ed25519PrivateKey], steps: list[str], expected: tuple[list[str], list[str]]
) -> None:
    document = task(type="COMPOSITE", payload={"steps": [{"id": "s", "type": name, "payload": {}} for name in steps]})
    keys = trusted(reader=(KEY, ["COMPOSITE", "ECHO"], ["/r/a"]), writer=(OTHER, ["COMPOSITE", "FILE_WRITE"], ["/r/b"]))
    believed = judge(envelope(document, *signing), document["task_id"], keys=keys)
    found = grant(believed, keys, require_signatures=True)
    assert (found.executors, found.paths) == expected


def test_a_key_that_was_taken_away_meanwhile_gives_no_rights() -> None:
    document = task()
    believed = judge(envelope(document, KEY, OTHER), document["task_id"])
    assert grant(believed, trusted(main=(KEY, ["ECHO"], None)), require_signatures=True).executors == ["ECHO"]
    with pytest.raises(LetsbeError, match="no signature of a trusted key") as refused:
        grant(believed, trusted(other=(OTHER, ["*"], None)), require_signatures=True)
    assert refused.value.code == "untrusted_task"


def test_one_good_signature_among_others_is_enough() -> None:
    document = task()
    assert judge(envelope(document, OTHER, KEY), document["task_id"]).signers == [public(KEY)]


def changed_after_signing() -> Envelope:
    sealed = envelope(task(task_id=ID), KEY)
    return msgspec.structs.replace(sealed, payload=envelope(task(task_id=ID, type="SHELL")).payload)


ID = new_id()


@pytest.mark.parametrize(
    ("sealed", "code", "message"),
    [
        (envelope(task(task_id=ID)), "untrusted_task", "no signature of a trusted key"),
        (envelope(task(task_id=ID), OTHER), "untrusted_task", "no signature of a trusted key"),
        (changed_after_signing(), "untrusted_task", "no signature of a trusted key"),
        (envelope(task(task_id=ID, agent_id=new_id()), KEY), "untrusted_task", "not for this one"),
        (envelope(task(), KEY), "untrusted_task", "was signed as task"),
        (envelope(task(task_id=ID, expires_at=instant(NOW)), KEY), "expired_task", "expired at"),
        (envelope(task(task_id=ID, expires_at=instant(NOW + 90 * 86_400)), KEY), "untrusted_task", "30 days"),
        (envelope(task(task_id=ID, expires_at="soon"), KEY), "unsupported_version", "soon"),
        (envelope(task(task_id=ID, not_before="2026-11-24 10:00"), KEY), "unsupported_version", "no time zone"),
        (envelope(task(task_id=ID, extra=1), KEY), "unsupported_version", "unknown field `extra`"),
        (envelope([1], KEY), "unsupported_version", "Expected `object`"),
        (sealed_bytes(b'{"type": "\xff\xfe"}'), "unsupported_version", "not UTF-8"),
        (sealed_bytes(b'{"payload": {"a": ' + b"[" * 2_000), "unsupported_version", "nested too deeply"),
        (envelope(task(task_id=ID, payload=nested(340)), KEY), "invalid_payload", "deeper than 64 levels"),
        (envelope(task(task_id=ID), KEY, kind="text/plain"), "unsupported_version", "unknown payload type"),
        (Envelope(payloadType=TASK_PAYLOAD_TYPE, payload="*"), "untrusted_task", "not base64"),
        (Envelope(payloadType=TASK_PAYLOAD_TYPE, payload="", signatures=[Signature(sig="%")]), "untrusted_task", "base64"),
        (Envelope(payloadType=TASK_PAYLOAD_TYPE, payload="", signatures=[Signature(sig="")]), "untrusted_task", "no sig"),
    ],
    ids=["unsigned", "another key", "changed", "another agent", "another id", "expired", "valid too long", "no instant",
         "no zone", "unknown field", "no object", "other bytes", "brackets", "deep",
         "another kind", "no base64", "bad signature", "empty signature"],
)  # fmt: skip
def test_what_is_not_believed(sealed: Envelope, code: str, message: str) -> None:
    with pytest.raises(LetsbeError) as raised:
        judge(sealed, ID)
    assert raised.value.code == code
    assert message in raised.value.message


def test_unsigned_is_believed_only_where_the_host_says_so() -> None:
    document = task()
    believed = judge(envelope(document), document["task_id"], require=False)
    assert grant(believed, trusted(main=(KEY, [], [])), require_signatures=False).executors == ["*"]


def test_trusted_key_that_is_none_is_a_mistake_of_the_configuration() -> None:
    document = task()
    with pytest.raises(LetsbeError) as raised:
        believe(
            envelope(document, KEY),
            offered_as=document["task_id"],
            agent_id=ME,
            trusted_keys={"main": TrustedKey(public_key="short")},
            require_signatures=True,
            server_now=NOW,
        )
    assert raised.value.code == "invalid_config"
    assert "main" in raised.value.message
