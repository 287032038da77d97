"""The task types of this release, as ``build/reference.py`` wrote them down from their declarations.

The orchestrator knows no executor, and an agent may be of another release: what it has is what it said.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from msgspec import Struct

from letsbe.decoding import decode


class TaskType(Struct, frozen=True):
    """A task type: what it is for, the version of its payload, and the payload's JSON Schema."""

    summary: str
    changes: bool
    schema_version: int
    schema: dict[str, Any]


@functools.cache
def task_types() -> dict[str, TaskType]:
    """Every task type of this release, by name."""
    text = resources.files("letsbe.orchestrator.pages").joinpath("task_types.json").read_bytes()
    return decode(text, dict[str, TaskType])
