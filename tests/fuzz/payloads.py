"""Payloads made from a task type's own JSON Schema, and spoilt: a new one is fuzzed by being registered."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from letsbe.agent.schema import payload_schema
from letsbe.executors import EXECUTOR_REGISTRY

Schema = dict[str, Any]

#: Stand for places of a run: see :func:`placed`.
ROOT, OUTSIDE = "{root}", "{outside}"

PATHS = [
    *("app.env", "notes.txt", "directory", "directory/inner.txt", "new", "directory/new", "missing/new", "binary"),
    *("link_out", "link_out/canary", "link_out/new", "link_to_canary", "loop", "link_in", "fifo", "dangling"),
    *("../outside/canary", "directory/../notes.txt", "./notes.txt", "//notes.txt", "notes.txt/", "notes.txt/x"),
    *("compose.yaml", "x" * 255, "x" * 256, "a/" * 2000, "new\nline", "\u202e", "-rf", "*", ".env", ""),
]
TEXTS = [
    *("", "x", "one", "A=1\n", "\0", "\ud800", "\udcff", "é", "\U0001f600", "\n", "\r\n", "$A", "${A:-b}", "a" * 5_000),
    *("${steps.a.data.path}", "${steps.a.data}", "${vars.x}", "$${vars.x}", "${steps.", "${vars.}", "${steps.a.error}"),
    *("(", "[a-", "(a*)*b", "a{1,400}", "\\", "^$", "/bin/true", "/bin/cat", "/bin/sh", "-", "--", "null", "{", "10s"),
    *("2026-11-23T10:00:00Z", "9999-12-31T23:59:59Z", "0", "-1", "1e999", "DB_PASSWORD", "[redacted]", "\x1b[2J", "="),
    *(f"{OUTSIDE}/canary", f"{OUTSIDE}/new", f"{ROOT}/../outside/canary", "/", ".", "..", "relative", "/proc/self/mem"),
]
NUMBERS = [0, 1, -1, 2, 255, 0o7777, 2**31, 2**53 + 1, 2**62, 2**63, 2**64, -(2**63), 10**40]
FRACTIONS = [0.0, -0.0, 0.001, 0.5, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan")]

names = st.sampled_from(["a", "b", "A", "DB_PASSWORD", "NAME", "x", "", "bad key", "\0", "\ud800", "é", "k" * 300])
paths = st.sampled_from([f"{ROOT}/{path}" for path in PATHS] + [ROOT])
texts = st.one_of(paths, st.sampled_from(TEXTS), st.text(max_size=20))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(NUMBERS), st.sampled_from(FRACTIONS), texts
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def tasks(draw: DrawFn, task_type: str, depth: int = 0) -> Any:
    """A payload of a task type: as its schema has it, or with one to three places spoilt.

    Steps of a chain are mostly left whole, since one that is spoilt has the whole chain refused.
    """
    schema = payload_schema(task_type)
    payload = draw(_conforming(schema, schema.get("$defs", {}), depth))
    if task_type == "COMPOSITE" and depth < 2 and draw(st.integers(0, 9)) > 0:
        payload["steps"] = draw(_steps(depth, "abcd"))
        if payload.get("rollback"):
            payload["rollback"] = draw(_steps(depth, "wxyz"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3] if depth == 0 else [*[0] * 9, 1]))):
        payload = _spoilt(draw, payload)
    return payload


@st.composite
def _steps(draw: DrawFn, depth: int, ids: str) -> list[Any]:
    kinds = draw(st.lists(st.sampled_from(list(EXECUTOR_REGISTRY)), min_size=1, max_size=len(ids)))
    steps = []
    for number, kind in enumerate(kinds):
        step: dict[str, Any] = {"id": ids[number], "type": kind, "payload": draw(tasks(kind, depth + 1))}
        if draw(st.booleans()):
            step["on_error"] = draw(st.sampled_from(["stop", "continue"]))
        if draw(st.integers(0, 4)) == 0:
            step["when"] = {
                "ref": draw(st.sampled_from(["${steps.a.changed}", "${vars.x}", "${steps.a.success}", "x"]))
            }
        steps.append(step)
    return steps


def _conforming(schema: Schema, definitions: Schema, depth: int, name: str = "") -> SearchStrategy[Any]:
    if "$ref" in schema:
        return _conforming(definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1, name)
    if "anyOf" in schema:
        return st.one_of([_conforming(one, definitions, depth, name) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, definitions, depth)
    if kind == "array":
        inner = _conforming(schema.get("items", {}), definitions, depth, name)
        return st.lists(inner, min_size=schema.get("minItems", 0), max_size=max(3, schema.get("minItems", 0)))
    if kind == "string":
        return _string(schema, name)
    if kind in ("integer", "number"):
        return _number(schema, kind)
    return {"boolean": st.booleans(), "null": st.none()}.get(str(kind), anything)


def _object(schema: Schema, definitions: Schema, depth: int) -> SearchStrategy[Any]:
    fields = {
        name: _conforming(field, definitions, depth, name) for name, field in schema.get("properties", {}).items()
    }
    required = {name: fields.pop(name) for name in schema.get("required", [])}
    if fields or required:
        return st.fixed_dictionaries(required, optional=fields)
    more = schema.get("additionalProperties", {})
    inner = _conforming(more, definitions, depth) if isinstance(more, dict) and more else anything
    return st.dictionaries(st.one_of(names, st.text(max_size=5)), inner, max_size=3)


def _string(schema: Schema, name: str) -> SearchStrategy[str]:
    if "pattern" in schema:
        fitting = st.from_regex(schema["pattern"])
        return st.one_of(fitting, fitting, fitting, texts)
    like_a_path = any(word in name for word in ("path", "cwd", "creates", "removes", "stack", "directory", "file"))
    if name == "argv":
        return st.one_of(st.sampled_from(["/bin/true", "/bin/cat", "/bin/echo", "echo"]), texts)
    return st.one_of(paths, paths, texts) if like_a_path else texts


def _number(schema: Schema, kind: str) -> SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -(2**53)))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 2**53))
    if kind == "integer":
        within = st.one_of(st.integers(low, high), st.sampled_from([low, high, min(low + 1, high)]))
        return st.one_of(within, within, within, st.sampled_from([low - 1, high + 1]))
    return st.one_of(st.sampled_from([low, high, 0.01]), st.floats(low, high))


def _spoilt(draw: DrawFn, payload: Any) -> Any:
    """The payload with something else at a place that is drawn, or with a field that does not belong there."""
    if not isinstance(payload, (dict, list)) or not payload or draw(st.integers(0, 5)) == 0:
        hostile = draw(st.one_of(anything, st.integers(60, 3_000).map(_nested)))
        if isinstance(payload, dict) and draw(st.booleans()):
            return {**payload, draw(names): hostile}
        return hostile
    changed = copy.copy(payload)
    key = draw(st.sampled_from(list(payload) if isinstance(payload, dict) else list(range(len(payload)))))
    changed[key] = _spoilt(draw, payload[key])
    return changed


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"steps": value}
    return value


def placed(value: Any, root: str, outside: str) -> Any:
    """The payload with real paths in place of :data:`ROOT` and :data:`OUTSIDE`."""
    if isinstance(value, str):
        return value.replace(ROOT, root).replace(OUTSIDE, outside)
    try:
        if isinstance(value, dict):
            return {key: placed(item, root, outside) for key, item in value.items()}
        if isinstance(value, list):
            return [placed(item, root, outside) for item in value]
    except RecursionError:
        pass  # nested as deep as that, it holds no path
    return value
