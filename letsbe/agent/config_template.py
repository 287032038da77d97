"""The configuration file that ``letsbe install`` writes: every key with its default, explained by its declaration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import wrap
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from letsbe.agent.config import Config

_HEAD = """\
# Configuration of letsbe. Every key is optional; what stands here are the defaults.
# `letsbe doctor` tells whether it is right.
"""
_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS_OF_YAML = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def render(values: Mapping[str, Any] | None = None) -> str:
    """The file's text. ``values`` (``orchestrator.url`` -> value) stand in place of defaults."""
    return _HEAD + "\n".join(_section(Config(), values or {}, "")) + "\n"


def _section(section: Struct, values: Mapping[str, Any], path: str) -> list[str]:
    indent = "  " * (path.count(".") + 1 if path else 0)
    lines: list[str] = []
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        key = f"{path}.{field.name}" if path else field.name
        text = _description(field.type)
        if isinstance(value, Struct):
            lines += [""] if not path else []
            lines += _comment(text or _summary(type(value)), indent)
            lines += [f"{indent}{field.name}:", *_section(value, values, key)]
        else:
            lines += [""] if not path else []
            lines += _comment(text, indent)
            lines.append(f"{indent}{field.name}: {_scalar(values.get(key, msgspec.to_builtins(value)))}")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in wrap(text, _WIDTH - len(indent))]


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _description(annotation: Any) -> str:
    """The description in an annotation, whichever side of ``| None`` it stands on."""
    if get_origin(annotation) is Annotated:
        for extra in annotation.__metadata__:
            if isinstance(extra, Meta) and extra.description:
                return extra.description
        return _description(annotation.__origin__)
    if type(None) in get_args(annotation):
        return next(filter(None, map(_description, get_args(annotation))), "")
    return ""


def _scalar(value: Any) -> str:
    """A value on one line: JSON, which is YAML, without the quotes that nothing needs."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
        return value
    return msgspec.json.encode(value).decode()
