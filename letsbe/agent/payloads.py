"""Payloads: from JSON that somebody sent to a struct, and from a struct to what the journal may hold."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from letsbe.decoding import MAX_DEPTH, convert, is_too_deep
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.executors.base import Payload
from letsbe.tools.redaction import Redactor, Secret

#: Largest payload taken, in bytes of JSON: a FILE_WRITE of 5 MiB in base64, and some.
MAX_BYTES = 8 * 1024 * 1024

P = TypeVar("P", bound=Payload)


def parse_json(raw: bytes, source: str = "payload") -> Any:
    """JSON bytes to JSON values; errors name ``source`` and the position (line and column, from 1)."""
    if len(raw) > MAX_BYTES:
        raise LetsbeError(
            "payload_too_large",
            f"{source}: {len(raw)} bytes of JSON, at most {MAX_BYTES} are taken",
            hint="Send large content in parts (FILE_WRITE with mode append).",
        )
    if not raw.strip():
        raise LetsbeError("invalid_json", f"{source} is empty", hint="An empty payload is written {}.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LetsbeError(
            "invalid_json",
            f"{source}: byte {error.start} is not UTF-8 (0x{raw[error.start]:02x})",
            hint="JSON is UTF-8; binary content goes into content_b64.",
        ) from None
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise _not_json(text, source, str(error)) from None
    except RecursionError:
        raise LetsbeError("invalid_json", f"{source}: nested too deeply", hint="Flatten it.") from None


def decode(value: Any, payload_type: type[P], task_type: str, path: str = "$") -> P:
    """JSON values to a payload of a task type; ``invalid_payload`` names the field by its path from ``path``."""
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise LetsbeError(
            "invalid_payload",
            f"a payload is a JSON object, this is a {kind} - at {path}",
            hint='Like {"message": "hi"}.',
        )
    _refuse_what_json_can_not_hold(value, path)
    try:
        return convert(value, payload_type, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), payload_type, task_type, path) from None


def _refuse_what_json_can_not_hold(value: Any, path: str) -> None:
    """``invalid_payload`` for text that is no Unicode (a flag's bytes may be anything) and for endless nesting."""
    if is_too_deep(value):
        raise LetsbeError(
            "invalid_payload",
            f"nested deeper than {MAX_DEPTH} levels - at {path}",
            hint="Flatten it.",
            details={"path": path},
        )
    try:
        msgspec.json.encode(value, enc_hook=encode_hook)
    except UnicodeEncodeError as error:
        raise LetsbeError(
            "invalid_payload",
            f"a text holds {error.object[error.start]!r}, which is no Unicode - at {path}",
            hint="Text is UTF-8; other bytes go base64-encoded into fields that say so (content_b64).",
            details={"path": path},
        ) from None


def decode_partly(
    value: Any, payload_type: type[Payload], task_type: str, path: str, *, deferred: frozenset[str]
) -> Payload:
    """Like :func:`decode`, with some fields not known yet: they may hold anything."""
    if not deferred:
        return decode(value, payload_type, task_type, path)
    fields: list[Any] = []
    for field in msgspec.structs.fields(payload_type):
        if field.name in deferred:
            fields.append((field.name, Any, None))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, _default(field)))
    partial: Any = msgspec.defstruct(payload_type.__name__, fields, bases=(Payload,), frozen=True, kw_only=True)
    found: Payload = decode(value, partial, task_type, path)
    return found


def _default(field: Any) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return field.default


def secrets_in(value: Any) -> list[Secret]:
    """Every :class:`Secret` in a payload, and what the payload itself knows to be one."""
    if isinstance(value, Secret):
        return [value]
    if isinstance(value, msgspec.Struct):
        known = [Secret(text) for text in value.secret_values()] if isinstance(value, Payload) else []
        return known + [found for field in value.__struct_fields__ for found in secrets_in(getattr(value, field))]
    if isinstance(value, dict):
        return [found for item in value.values() for found in secrets_in(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in secrets_in(item)]
    return []


def for_journal(payload: Payload, redactor: Redactor) -> str:
    """The payload as JSON that the journal may hold: secrets redacted, content as size and SHA-256."""
    fields = msgspec.structs.fields(payload)
    changed = [field.name for field in fields if getattr(payload, field.name) != field.default]
    plain = msgspec.to_builtins(payload, enc_hook=encode_hook)
    covered = _covered({name: plain[name] for name in changed}, type(payload))
    return msgspec.json.encode(redactor.named(covered)).decode()


def _covered(values: dict[str, Any], payload_type: type[Payload]) -> dict[str, Any]:
    """A payload's JSON with size and SHA-256 in place of content, in the payloads of steps inside it too."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(payload_type)}
    return {
        name: _digest(value) if value is not None and _is_digest_only(kinds.get(name)) else _covered_steps(value)
        for name, value in values.items()
    }


def _covered_steps(value: Any) -> Any:
    """JSON in which whatever looks like a task, with ``type`` and ``payload``, is covered by that type's rules."""
    if isinstance(value, list):
        return [_covered_steps(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner, kind = value.get("payload"), value.get("type")
    if isinstance(inner, dict) and kind in EXECUTOR_REGISTRY:
        covered = _covered(inner, executor_class(str(kind)).payload_type)
        return {**value, "payload": covered}
    return {key: _covered_steps(item) for key, item in value.items()}


def encode_hook(value: Any) -> Any:
    """For encoders: a secret is written as ``[redacted]``."""
    if isinstance(value, Secret):
        return repr(value)
    raise NotImplementedError(f"no JSON form for {type(value)}")


def _decode_secret(kind: type, value: Any) -> Any:
    if kind is not Secret:
        raise NotImplementedError(f"no decoder for {kind}")
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the path
    return Secret(value)


def _is_digest_only(kind: Any) -> bool:
    metas = [kind, *getattr(kind, "__args__", ())]
    return any(
        (meta.extra or {}).get("journal") == "digest"
        for annotated in metas
        for meta in getattr(annotated, "__metadata__", ())
    )


def _digest(value: Any) -> dict[str, Any]:
    from hashlib import sha256

    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else msgspec.json.encode(value)
    return {"bytes": len(raw), "sha256": sha256(raw).hexdigest()}


def _not_json(text: str, source: str, problem: str) -> LetsbeError:
    import json

    try:
        json.loads(text)
        where = problem  # the standard library is laxer (NaN); msgspec's own words then
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg.removesuffix(' starting at')}"
    except RecursionError:
        where = "nested too deeply"
    return LetsbeError(
        "invalid_json", f"{source} is not JSON: {where}", hint="In a shell, put single quotes around the whole JSON."
    )


def _invalid(problem: str, payload_type: type[Payload], task_type: str, path: str) -> LetsbeError:
    message, _, at = problem.partition(" - at `")
    where = path + at.rstrip("`").removeprefix("$")
    hint = f"`letsbe schema {task_type}` shows what it takes."
    if "unknown field `" in message:
        from difflib import get_close_matches

        name = message.split("`")[1]
        close = get_close_matches(name, payload_type.__struct_fields__, 1)
        where, known = f"{where}.{name}", ", ".join(payload_type.__struct_fields__)
        message = f"unknown field `{name}`"
        hint = f"Did you mean `{close[0]}`?" if close else f"Known fields: {known}."
    return LetsbeError("invalid_payload", f"{message} - at {where}", hint=hint, details={"path": where})
