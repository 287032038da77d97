"""JSON and plain values into structs, from any thread.

msgspec prepares a Struct type when it is first decoded into, which runs Python code; another thread that decodes into
the type meanwhile meets it half prepared, and the process dies of a null pointer. So a type is prepared here, by one
thread at a time, before it is used.
"""

from __future__ import annotations

from _thread import allocate_lock
from typing import Any, TypeVar

import msgspec

#: Objects and lists inside each other in a payload: a chain of chains needs 20, and what walks it calls itself at each.
MAX_DEPTH = 64

T = TypeVar("T")

_preparing = allocate_lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(text: bytes | str, type_: type[T]) -> T:
    """What a JSON text says, as a ``type_``.

    Raises ``msgspec.DecodeError``, whatever it is that keeps it from being read: no JSON, no UTF-8, nested too deeply,
    or, as ``msgspec.ValidationError``, of another type; the message tells where.
    """
    try:
        found: T = _prepared(type_).decode(text)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("a text in it is not UTF-8") from error
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    return found


def convert(value: object, type_: type[T], **options: Any) -> T:
    """A plain value as a ``type_``, by the options of ``msgspec.convert``. Raises ``msgspec.ValidationError``."""
    _prepared(type_)
    found: T = msgspec.convert(value, type_, **options)
    return found


def is_too_deep(value: Any) -> bool:
    """Whether JSON values are nested deeper than :data:`MAX_DEPTH` levels."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        items = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def _prepared(type_: Any) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(type_)
    if decoder is None:
        with _preparing:
            decoder = _decoders.setdefault(type_, msgspec.json.Decoder(type_))
    return decoder
