"""JSON and plain values into structs, from any thread.

msgspec prepares a Struct type when it is first decoded into, which runs Python code; another thread that decodes into
the type meanwhile meets it half prepared, and the process dies of a null pointer. So a type is prepared here, by one
thread at a time, before it is used.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_preparing = allocate_lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(text: bytes | str, type_: type[T]) -> T:
    """What a JSON text says, as a ``type_``.

    Raises ``msgspec.DecodeError`` (no JSON), ``msgspec.ValidationError`` (of another type; the message tells where),
    ``UnicodeDecodeError``, and ``RecursionError`` (nested too deeply).
    """
    found: T = _prepared(type_).decode(text)
    return found


def convert(value: object, type_: type[T], **options: Any) -> T:
    """A plain value as a ``type_``, by the options of ``msgspec.convert``. Raises ``msgspec.ValidationError``."""
    _prepared(type_)
    found: T = msgspec.convert(value, type_, **options)
    return found


def _prepared(type_: Any) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(type_)
    if decoder is None:
        with _preparing:
            decoder = _decoders.setdefault(type_, msgspec.json.Decoder(type_))
    return decoder
