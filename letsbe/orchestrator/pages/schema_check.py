"""Checks a value against the part of JSON Schema (2020-12) that task types use. Pure.

A courtesy to whoever fills in a form: the agent checks the payload itself, and has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
Path = tuple[str | int, ...]
Fault = tuple[Path, str]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}
_BOUNDS: list[tuple[str, str]] = [
    ("minimum", "must be at least"),
    ("maximum", "must be at most"),
    ("exclusiveMinimum", "must be more than"),
    ("exclusiveMaximum", "must be less than"),
]
_SIZES = {
    str: ("minLength", "maxLength", "characters"),
    list: ("minItems", "maxItems", "items"),
    dict: ("minProperties", "maxProperties", "keys"),
}


def faults(value: Any, schema: Schema, definitions: Schema, path: Path = ()) -> Iterator[Fault]:
    """Where ``value`` is not what ``schema`` says, and why."""
    schema = resolved(schema, definitions)
    if "anyOf" in schema:
        yield from _any_of(value, schema["anyOf"], definitions, path)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"must be one of {', '.join(map(str, schema['enum']))}"
        return
    if "type" in schema and not _is_of(value, schema["type"]):
        yield path, f"must be of type {schema['type']}"
        return
    yield from ((path, reason) for reason in _limits(value, schema))
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, item in enumerate(value):
            yield from faults(item, schema["items"], definitions, (*path, number))
    if isinstance(value, dict):
        yield from _members(value, schema, definitions, path)


def resolved(schema: Schema, definitions: Schema) -> Schema:
    """The schema that a ``$ref`` names, or the schema itself."""
    if "$ref" not in schema:
        return schema
    found: Schema = definitions[schema["$ref"].rpartition("/")[2]]
    return found


def _any_of(value: Any, options: list[Schema], definitions: Schema, path: Path) -> Iterator[Fault]:
    """The faults by the option that comes nearest: one that takes this type, if any does."""
    found = [list(faults(value, option, definitions, path)) for option in options]
    if all(found):
        resolved_options = [resolved(option, definitions) for option in options]
        near = [i for i, option in enumerate(resolved_options) if value is not None and option.get("type") != "null"]
        matching = [i for i in near if _is_of(value, resolved_options[i].get("type", ""))]
        yield from found[(matching or near or [0])[0]]


def _is_of(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES.get(name, ()))


def _limits(value: Any, schema: Schema) -> Iterator[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for (key, words), broken in zip(_BOUNDS, _broken(value, schema), strict=True):
            if broken:
                yield f"{words} {schema[key]}"
    for kind, (low, high, unit) in _SIZES.items():
        if isinstance(value, kind):
            if len(value) < schema.get(low, 0):
                yield f"must have at least {schema[low]} {unit}"
            if high in schema and len(value) > schema[high]:
                yield f"must have at most {schema[high]} {unit}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"must match {schema['pattern']}"


def _broken(value: float, schema: Schema) -> tuple[bool, bool, bool, bool]:
    return (
        "minimum" in schema and value < schema["minimum"],
        "maximum" in schema and value > schema["maximum"],
        "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"],
        "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"],
    )


def _members(value: dict[str, Any], schema: Schema, definitions: Schema, path: Path) -> Iterator[Fault]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", []):
        if name not in value:
            yield (*path, name), "is required"
    for name, item in value.items():
        for _, reason in faults(name, schema.get("propertyNames", {}), definitions):
            yield path, f"the key {name!r} {reason}"
        if name in known:
            yield from faults(item, known[name], definitions, (*path, name))
        elif others is False:
            yield (*path, name), "is no field of it"
        elif isinstance(others, dict):
            yield from faults(item, others, definitions, (*path, name))
