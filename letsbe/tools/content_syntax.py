"""Whether content is well-formed JSON or YAML. Messages give the place, never the content: it may hold secrets."""

from __future__ import annotations

import re
from typing import Any

from letsbe.errors import LetsbeError

#: What a parser quotes of the content.
_QUOTED = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")


def require_json(content: bytes, path: str) -> None:
    """Raise ``validation_failed`` with line and column unless the content is one JSON document (RFC 8259)."""
    import json

    text = _text(content, path)
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise validation_failed(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise validation_failed(path, str(error)) from None
    except RecursionError:
        raise validation_failed(path, "nested too deeply") from None


def require_yaml(content: bytes, path: str) -> None:
    """Raise ``validation_failed`` with line and column unless the content is YAML with no key twice in a mapping."""
    import yaml

    text = _text(content, path)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for document in yaml.compose_all(text, Loader=loader):
            _require_unique_keys(document, path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = _QUOTED.sub("'...'", error.problem or error.context or "not YAML")
        raise validation_failed(path, where + problem) from None
    except yaml.YAMLError:
        raise validation_failed(path, "holds characters that YAML does not allow") from None
    except RecursionError:
        raise validation_failed(path, "nested too deeply") from None


def validation_failed(
    path: str, what: str, hint: str = "Correct the content; the file was left as it was."
) -> LetsbeError:
    """``validation_failed``: nothing was written."""
    return LetsbeError("validation_failed", f"{path}: {what}", hint=hint)


def _require_unique_keys(document: Any, path: str) -> None:
    waiting = [document]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "sequence":
            waiting.extend(node.value)
        elif node.id == "mapping":
            keys: set[tuple[str, str]] = set()
            for key, value in node.value:
                if key.id == "scalar" and key.value != "<<":
                    if (key.tag, key.value) in keys:
                        mark = key.start_mark
                        raise validation_failed(
                            path, f"line {mark.line + 1}, column {mark.column + 1}: the key stands twice"
                        )
                    keys.add((key.tag, key.value))
                waiting += [key, value]


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise validation_failed(path, f"byte {error.start} is not UTF-8") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
