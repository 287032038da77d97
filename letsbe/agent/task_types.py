"""Which task types a task would run: its own, and those of the steps inside it."""

from __future__ import annotations

from typing import Any

from letsbe.executors import EXECUTOR_REGISTRY


def types_in(task_type: str, payload: Any) -> set[str]:
    """The task's type and those of whatever in its payload looks like a task: rather one too many than one too few."""
    return {task_type, *_inside(payload)}


def _inside(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in _inside(item)}
    if not isinstance(value, dict):
        return set()
    own = value.get("type")
    found = _inside(list(value.values()))
    return found | {own} if isinstance(own, str) and own in EXECUTOR_REGISTRY else found
