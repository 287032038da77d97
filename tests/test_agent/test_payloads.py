from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from letsbe.agent.payloads import MAX_BYTES, decode, decode_partly, for_journal, parse_json, secrets_in
from letsbe.errors import LetsbeError
from letsbe.executors.base import Payload
from letsbe.tools.redaction import Redactor, Secret


class Sample(Payload, frozen=True):
    path: str
    count: Annotated[int, Meta(ge=0)] = 0
    password: Secret | None = None
    content: Annotated[str, Meta(extra={"journal": "digest"})] | None = None
    set: dict[str, str] = {}


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (b"", "invalid_json", "payload is empty"),
        (b"  \n", "invalid_json", "payload is empty"),
        (b'{"path": "a",}', "invalid_json", "line 1, column 1"),  # 13 or 14, as Python's version has it
        (b'{\n  "path": nope\n}', "invalid_json", "line 2, column 11"),
        (b'{"path": "\xff"}', "invalid_json", "byte 10 is not UTF-8 (0xff)"),
        (b'{"a": 1} x', "invalid_json", "line 1, column 10"),
        (b'{"a": "x', "invalid_json", "line 1, column 7: Unterminated string"),
        (b"[" * 100_000, "invalid_json", "nested too deeply"),
        (b" " * (MAX_BYTES + 1), "payload_too_large", str(MAX_BYTES)),
    ],
    ids=["empty", "blank", "trailing comma", "bare word", "not UTF-8", "two documents", "open string", "deep", "large"],
)
def test_json_errors_name_the_place(raw: bytes, code: str, message: str) -> None:
    with pytest.raises(LetsbeError) as raised:
        parse_json(raw)
    assert raised.value.code == code
    assert message in raised.value.message
    assert not raised.value.message.endswith(" at")
    assert raised.value.hint


@pytest.mark.parametrize(
    ("value", "path", "hint"),
    [
        ({"pth": "x"}, "$.pth", "Did you mean `path`?"),
        ({"path": 1}, "$.path", "`letsbe schema SAMPLE`"),
        ({"path": "x", "count": -1}, "$.count", "`letsbe schema SAMPLE`"),
        ({"path": "x", "set": {"A": 1}}, "$.set[...]", "`letsbe schema SAMPLE`"),
        ({"path": "x", "password": 5}, "$.password", "`letsbe schema SAMPLE`"),
        ({}, "$", "`letsbe schema SAMPLE`"),
    ],
)
def test_invalid_payload_names_the_field(value: object, path: str, hint: str) -> None:
    with pytest.raises(LetsbeError) as raised:
        decode(value, Sample, "SAMPLE")
    assert raised.value.code == "invalid_payload"
    assert raised.value.details["path"] == path
    assert hint in raised.value.hint


def test_deferred_fields_may_hold_anything_and_others_may_not() -> None:
    assert decode_partly({"path": {"any": 1}}, Sample, "SAMPLE", "$", deferred=frozenset({"path"})) is not None
    with pytest.raises(LetsbeError, match=r"\$\.count"):
        decode_partly({"path": {"any": 1}, "count": "x"}, Sample, "SAMPLE", "$", deferred=frozenset({"path"}))
    with pytest.raises(LetsbeError, match="unknown field `nope`"):
        decode_partly({"path": 1, "nope": 1}, Sample, "SAMPLE", "$", deferred=frozenset({"path"}))


def test_journal_holds_no_secret_and_no_content() -> None:
    payload = decode(
        {"path": "/x", "password": "hunter22", "content": "body", "set": {"API_KEY": "k", "HOST": "h"}},
        Sample,
        "SAMPLE",
    )
    assert [secret.reveal() for secret in secrets_in(payload)] == ["hunter22"]
    assert msgspec.json.decode(for_journal(payload, Redactor())) == {
        "path": "/x",
        "password": "[redacted]",
        "content": {"bytes": 4, "sha256": hashlib.sha256(b"body").hexdigest()},
        "set": {"API_KEY": "[redacted]", "HOST": "h"},
    }


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "payload",
    [{"path": "\ud800"}, {"\udcff": 1}, {"path": deep(64)}, {"path": deep(100_000)}],
    ids=["lone_surrogate", "key_of_any_bytes", "too_deep", "far_too_deep"],
)
def test_what_json_can_not_hold_is_the_senders_fault(payload: Any) -> None:
    with pytest.raises(LetsbeError) as raised:
        decode(payload, Sample, "SAMPLE")
    assert raised.value.code == "invalid_payload"
    assert raised.value.details["path"] == "$"
