"""Flags made from a payload's fields: scalars, lists of scalars, and maps of strings (``--set KEY=VALUE``).

Nested structures have no flag; they come in the JSON. Secret fields have none either: a command line can be read by
every user of the machine.
"""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec import inspect

from letsbe.executors.base import Payload


def flags(payload_type: type[Payload]) -> list[click.Parameter]:
    """One option for each field that a flag can express."""
    info = inspect.type_info(payload_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - payloads are structs
    return [option for field in info.fields if (option := _option(field)) is not None]


def given(payload_type: type[Payload], values: dict[str, Any]) -> dict[str, Any]:
    """The fields whose flag was used, as JSON values."""
    info = inspect.type_info(payload_type)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - payloads are structs
    found: dict[str, Any] = {}
    for field in info.fields:
        value = values.get(field.name)
        if value is None or value == ():
            continue
        kind = _plain(field.type)
        if isinstance(kind, inspect.DictType):
            value = dict(_pair(field.name, text) for text in value)
        elif isinstance(value, tuple):
            value = list(value)
        found[field.name] = value
    return found


def _option(field: inspect.Field) -> click.Option | None:
    kind = _plain(field.type)
    name = f"--{field.name.replace('_', '-')}"
    text = _description(field)
    if isinstance(kind, inspect.BoolType):
        return click.Option([f"{name}/--no-{name[2:]}", field.name], default=None, help=text)
    if isinstance(kind, inspect.DictType):
        simple = isinstance(_plain(kind.value_type), inspect.StrType)
        return click.Option([name, field.name], multiple=True, metavar="KEY=VALUE", help=text) if simple else None
    if isinstance(kind, (inspect.ListType, inspect.SetType)):
        element = _click_type(_plain(kind.item_type))
        return click.Option([name, field.name], multiple=True, type=element, help=text) if element else None
    scalar = _click_type(kind)
    return click.Option([name, field.name], type=scalar, help=text) if scalar else None


def _click_type(kind: inspect.Type) -> click.ParamType[Any] | None:
    if isinstance(kind, inspect.StrType):
        return click.STRING
    if isinstance(kind, inspect.IntType):
        return click.INT
    if isinstance(kind, inspect.FloatType):
        return click.FLOAT
    if isinstance(kind, inspect.LiteralType) and all(isinstance(value, str) for value in kind.values):
        return click.Choice([str(value) for value in kind.values])
    return None


def _plain(kind: inspect.Type) -> inspect.Type:
    """Without metadata, and without the null of an optional field."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)
    if isinstance(kind, inspect.UnionType):
        others = [member for member in kind.types if not isinstance(_plain(member), inspect.NoneType)]
        return _plain(others[0]) if len(others) == 1 else kind
    return kind


def _description(field: inspect.Field) -> str:
    text = _find_description(field.type) or ""
    if field.required:
        return f"{text} (required)"
    default = field.default
    if default is msgspec.NODEFAULT or default in (None, "", False):
        return text
    return f"{text} [default: {str(default).lower() if isinstance(default, bool) else default}]"


def _find_description(kind: inspect.Type) -> str | None:
    if isinstance(kind, inspect.Metadata):
        schema = kind.extra_json_schema or {}
        return schema.get("description") or _find_description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next((found for member in kind.types if (found := _find_description(member))), None)
    return None


def _pair(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=f"--{name.replace('_', '-')}")
    return key, value
