"""Forms from schemas, payloads from forms, and pictures of data: no page, no database."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.orchestrator.pages import fields, outcome, schema_check
from letsbe.orchestrator.pages.rendering import ago, due_since, is_late, visible
from letsbe.orchestrator.pages.task_types import task_types
from letsbe.protocol import instant


@pytest.mark.parametrize("task_type", EXECUTOR_REGISTRY)
def test_every_task_type_has_a_form_that_takes_its_example(task_type: str) -> None:
    schema = task_types()[task_type].schema
    example = executor_class(task_type).example
    assert list(schema_check.faults(example, schema, schema.get("$defs", {}))) == []
    form = {f"payload.{name}": filled(value) for name, value in example.items() if value is not False}
    form |= {  # a box that is ticked at first, and stays so
        field.key: ["yes"]
        for field in fields.fields(schema)
        if field.widget == "flag" and field.default and field.name not in example
    }
    payload, wrong = fields.read(fields.fields(schema), form)
    assert (fields.check(payload, schema, wrong), payload) == (
        {},
        {name: value for name, value in example.items() if value != schema["properties"][name].get("default")},
    )


def filled(value: Any) -> list[str]:
    """What a person fills in for a value."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ["\n".join(value)] if len(value) > 1 else value
    return [value if isinstance(value, str) else fields._text(value)]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4, 1.5, True, "1", None]),
        ({"type": "number", "exclusiveMinimum": 0}, [0.1, 1], [0, -1, True]),
        ({"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^a"}, ["a", "ab"], ["", "abc", "b", 1]),
        ({"enum": ["a", "b"]}, ["a"], ["c", None]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["", None], [1, []]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}, [["a"]], [[], [1], ["a"] * 3]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, [{}, {"a": "b"}], [{"a": 1}, []]),
        ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "maxProperties": 1}, [{"a": 1}], [{"A": 1}]),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, [{"a": 1}], [{}, {"b": 1}]),
        ({"type": "object", "properties": {}, "additionalProperties": False}, [{}], [{"a": 1}]),
        ({"$ref": "#/$defs/Step"}, [{"id": "a"}], [{}, {"id": 1}]),
    ],
)
def test_values_are_checked_against_a_schema(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    definitions = {"Step": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}}
    for value in good:
        assert list(schema_check.faults(value, schema, definitions)) == [], value
    for value in bad:
        assert list(schema_check.faults(value, schema, definitions)), value


def test_a_fault_names_its_place() -> None:
    schema = task_types()["COMPOSITE"].schema
    payload = {"steps": [{"id": "a", "type": "ECHO"}, {"id": "B", "type": "ECHO"}]}
    assert list(fields.check(payload, schema, {})) == ["steps"]
    assert fields.check(payload, schema, {})["steps"].startswith("[1].id must match")


def test_a_secret_is_a_password_that_is_not_shown_again() -> None:
    secret = next(one for one in fields.fields(task_types()["ENV_INSPECT"].schema) if one.name == "digest_key")
    assert secret.widget == "password"
    assert fields.shown(secret, {"payload.digest_key": ["hunter2"]}) == ""


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "none"),
        ([], "none"),
        (0, "word"),
        (False, "word"),
        ("a", "word"),
        ("a\nb", "text"),
        ("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n", "diff"),
        ({"a": 1}, "fields"),
        ([1, 2], "list"),
        ([{"a": 1}, {"b": 2}], "table"),
        ([{"a": {"b": 1}}, {"a": 2}], "list"),
    ],
)
def test_data_is_drawn_by_its_shape(value: Any, kind: str) -> None:
    assert outcome.draw(value).kind == kind


def test_moments_in_words() -> None:
    now = 1_800_000_000.0
    told = [ago(instant(now - seconds), now) for seconds in (-5, 12, 130, 3 * 3600, 5 * 86_400)]
    assert told == ["0 s ago", "12 s ago", "2 min ago", "3 h ago", "5 days ago"]
    due = due_since(now, 600)
    late = [is_late(instant(now - seconds), due, now) for seconds in (-86_400, 0, 899, 901)]
    assert late == [True, False, False, True]
    assert is_late(None, due, now)
    assert visible("a\u202eb\x1bc\n") == "a\\u202eb\\u001bc\n"
