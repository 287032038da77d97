"""The form of a task type, made from its payload's JSON Schema, and the payload from what was filled in. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from letsbe.orchestrator.pages import schema_check
from letsbe.orchestrator.pages.gate import Form, value
from letsbe.orchestrator.pages.schema_check import Schema

Widget = Literal["line", "area", "password", "number", "flag", "choice", "choices", "lines", "json"]

#: Longer texts than this get an area of several lines.
_LONGEST_LINE = 4096


class Field(Struct, frozen=True, kw_only=True):
    """One field. ``attributes`` are those of its input; ``item_type``: of a list's items; ``schema`` is not null's."""

    name: str
    widget: Widget
    description: str
    required: bool
    default: Any
    options: list[Any]
    attributes: dict[str, int | float | str]
    schema: Schema
    item_type: str = ""

    @property
    def key(self) -> str:
        """The field's name in the form, and its id on the page."""
        return f"payload.{self.name}"

    @property
    def note(self) -> str:
        """How it is filled in, and what counts when it is left empty."""
        ways = {
            "lines": "One to a line; empty lines are left out.",
            "json": "As JSON.",
            "password": "A secret: it is not shown again.",
        }
        unset = self.required or self.default in (None, "", [], {}) or self.widget == "flag"
        default = "" if unset else f"Left empty: {_text(self.default)}."
        return " ".join(part for part in (ways.get(self.widget, ""), default) if part)


def fields(schema: Schema) -> list[Field]:
    """The fields of a payload's schema, in its order."""
    required, definitions = schema.get("required", []), schema.get("$defs", {})
    return [
        _field(name, member, name in required, definitions) for name, member in schema.get("properties", {}).items()
    ]


def read(wanted: list[Field], form: Form) -> tuple[dict[str, Any], dict[str, str]]:
    """The payload that was filled in, and by field what is no value at all. What was left empty is left out."""
    payload: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in wanted:
        try:
            found = _READERS.get(field.widget, _read_text)(field, form)
        except ValueError as error:
            wrong[field.name] = str(error)
            continue
        if found is not None and (field.required or found != field.default):
            payload[field.name] = found
    return payload, wrong


def check(payload: dict[str, Any], schema: Schema, wrong: dict[str, str]) -> dict[str, str]:
    """``wrong``, and what the schema finds wrong, by field; what concerns no field is under the empty name."""
    found = dict(wrong)
    for path, reason in schema_check.faults(payload, schema, schema.get("$defs", {})):
        name = str(path[0]) if path else ""
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
        found.setdefault(name, f"{place.removeprefix('.')} {reason}".strip())
    return found


def shown(field: Field, form: Form | None) -> Any:
    """What the field holds when it is drawn: what was filled in, else the default. A secret is not shown again."""
    if field.widget == "choices":
        return form.get(field.key, []) if form is not None else list(map(_text, field.default or []))
    if field.widget == "flag":
        return field.key in form if form is not None else bool(field.default)
    if field.widget == "password":
        return ""
    return value(form, field.key) if form is not None else ""


def _field(name: str, schema: Schema, required: bool, definitions: Schema) -> Field:
    options = [schema_check.resolved(option, definitions) for option in schema.get("anyOf", [schema])]
    real = [option for option in options if option.get("type") != "null"]
    inner = schema_check.resolved(real[0], definitions) if len(real) == 1 else {}
    widget = _widget(inner)
    items = inner.get("items") or {}
    attributes: dict[str, int | float | str] = {}
    if widget == "number":
        attributes = {"step": "1" if inner["type"] == "integer" else "any"}
        attributes |= {html: inner[key] for key, html in (("minimum", "min"), ("maximum", "max")) if key in inner}
    elif widget in ("line", "password", "area"):
        attributes |= {html: inner[key] for key, html in (("maxLength", "maxlength"),) if key in inner}
    places = [schema, *options]
    return Field(
        name=name,
        widget=widget,
        description=next((place["description"] for place in places if "description" in place), ""),
        required=required,
        default=schema.get("default"),
        options=inner.get("enum", items.get("enum", [])) if widget in ("choice", "choices") else [],
        attributes=attributes,
        schema=inner,
        item_type=items.get("type", "string"),
    )


def _widget(schema: Schema) -> Widget:
    kind = schema.get("type")
    if "enum" in schema:
        return "choice" if all(isinstance(option, str) for option in schema["enum"]) else "json"
    if kind == "string":
        if schema.get("format") == "password":
            return "password"
        unbounded = 1 if "pattern" in schema else _LONGEST_LINE + 1  # what has a pattern is a name of a kind
        return "line" if schema.get("maxLength", unbounded) <= _LONGEST_LINE else "area"
    if kind in ("integer", "number"):
        return "number"
    if kind == "boolean":
        return "flag"
    if kind == "array":
        items = schema.get("items") or {}
        if "enum" in items and all(isinstance(option, str) for option in items["enum"]):
            return "choices"
        if items.get("type") in ("string", "integer", "number"):
            return "lines"
    return "json"


def _read_text(field: Field, form: Form) -> str | None:
    return value(form, field.key) or None


def _read_number(field: Field, form: Form) -> int | float | None:
    text = value(form, field.key).strip()
    return _number(text, field.schema["type"]) if text else None


def _read_flag(field: Field, form: Form) -> bool | None:
    return field.key in form


def _read_choices(field: Field, form: Form) -> list[str] | None:
    return form.get(field.key) or None


def _read_lines(field: Field, form: Form) -> list[Any] | None:
    lines = [line for line in value(form, field.key).split("\n") if line]
    return ([_number(line, field.item_type) for line in lines] if field.item_type != "string" else lines) or None


def _read_json(field: Field, form: Form) -> Any:
    text = value(form, field.key).strip()
    return decoded(text) if text else None


def decoded(text: str) -> Any:
    """The value of a JSON text. Raises :class:`ValueError`."""
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error


def _number(text: str, kind: str) -> int | float:
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no {kind}") from error


def _text(default: Any) -> str:
    return default if isinstance(default, str) else msgspec.json.encode(default).decode()


_READERS: dict[str, Any] = {
    "number": _read_number,
    "flag": _read_flag,
    "choices": _read_choices,
    "lines": _read_lines,
    "json": _read_json,
}
