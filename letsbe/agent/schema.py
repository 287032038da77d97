"""JSON Schema (2020-12) of what an executor takes and gives, from its declaration alone."""

from __future__ import annotations

from typing import Any

import msgspec

from letsbe.executors import executor_class
from letsbe.tools.redaction import Secret

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def payload_schema(task_type: str) -> dict[str, Any]:
    """The schema of a task type's payload; ``unknown_type`` when there is no such type."""
    kind = executor_class(task_type)
    return {"$schema": DIALECT, "title": f"{task_type} payload", **_inline(kind.payload_type)}


def data_schema(task_type: str) -> dict[str, Any]:
    """The schema of the ``data`` in a task type's outcome."""
    kind = executor_class(task_type)
    return {"$schema": DIALECT, "title": f"{task_type} data", **_inline(kind.data_type)}


def _inline(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct at the top, what it refers to under ``$defs``."""
    (top,), definitions = msgspec.json.schema_components(
        [kind], schema_hook=_secret_schema, ref_template="#/$defs/{name}"
    )
    name = top["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = definitions.pop(name)
    schema.pop("title", None)
    return {**schema, "$defs": definitions} if definitions else schema


def _secret_schema(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string", "format": "password", "writeOnly": True}
    raise NotImplementedError(f"no schema for {kind}")
