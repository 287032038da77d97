"""The slow half of reading the configuration: YAML, and the line on which it went wrong."""

from __future__ import annotations

import re
from typing import Any

import yaml

from letsbe.errors import LetsbeError

_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_AT = re.compile(r" - at `(?P<path>[^`]*)`$")
_PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(source: bytes, path: str) -> Any:
    """The document; ``invalid_config`` with line and column when it is not YAML, or a key stands twice."""
    try:
        node = yaml.compose(source, Loader=_Loader)
        duplicate = _duplicate_key(node)
        if duplicate is not None:
            raise LetsbeError(
                "invalid_config",
                f"{path}, line {duplicate.start_mark.line + 1}: key {duplicate.value!r} stands twice",
                hint="Keep one of them.",
            )
        return yaml.load(source, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise LetsbeError("invalid_config", f"{path}{line}: not YAML: {problem}", hint="Mend that line.") from error


def with_line(problem: str, source: bytes, path: str) -> LetsbeError:
    """msgspec's complaint as an ``invalid_config`` error that says which line is meant."""
    at = _AT.search(problem)
    where = at["path"] if at else "$"
    unknown = _UNKNOWN.search(problem)
    parts = [key or index for key, index in _PATH_PART.findall(where.removeprefix("$"))]
    node = _find(yaml.compose(source, Loader=_Loader), parts, unknown["name"] if unknown else None)
    key = ".".join([*parts, unknown["name"]] if unknown else parts)
    if unknown:
        message, hint = f"unknown key {key}", _nearest(unknown["name"], parts)
    else:
        message, hint = f"{key}: {_AT.sub('', problem)}", "See docs/reference/configuration.md."
    line = f", line {node.start_mark.line + 1}" if node is not None else ""
    return LetsbeError("invalid_config", f"{path}{line}: {message}", hint=hint, details={"key": key})


def _duplicate_key(node: Any) -> Any:
    children: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                return key
            seen.add(key.value)
            children.append(value)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    return next((found for child in children if (found := _duplicate_key(child)) is not None), None)


def _find(node: Any, parts: list[str], key: str | None) -> Any:
    """The node at a path, or the key node of ``key`` in it; the nearest one above when the path ends early."""
    for part in parts:
        below = None
        if isinstance(node, yaml.MappingNode):
            below = next((value for name, value in node.value if name.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            below = node.value[int(part)]
        if below is None:
            return node
        node = below
    if key is not None and isinstance(node, yaml.MappingNode):
        return next((name for name, _ in node.value if name.value == key), node)
    return node


def _nearest(name: str, parts: list[str]) -> str:
    from difflib import get_close_matches

    import msgspec

    from letsbe.agent.config import Config

    section: Any = Config
    for part in parts:
        fields = {field.name: field.type for field in msgspec.structs.fields(section)} if _is_struct(section) else {}
        section = fields.get(part)
    known = [field.name for field in msgspec.structs.fields(section)] if _is_struct(section) else []
    close = get_close_matches(name, known, 1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known here: {', '.join(known)}." if known else "See docs/reference/configuration.md."


def _is_struct(kind: Any) -> bool:
    import msgspec

    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
