"""The OpenAPI document: paths and answers from the routes, schemas from the wire structs themselves."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.serialization import encode_json
from msgspec import Struct

from letsbe import __version__, protocol

#: The bodies of requests, by operation; routes read them with ``routes.decoded``.
_BODIES: dict[str, type[Struct]] = {
    "register": protocol.RegisterRequest,
    "poll": protocol.PollRequest,
    "result": protocol.Outcome,
}
_ANSWERS = (protocol.RegisterResponse, protocol.PollResponse, protocol.ClaimResponse, protocol.Problem)
_REFERENCE = "#/components/schemas/{name}"


def render(document: dict[str, Any]) -> bytes:
    """``document``, as Litestar made it, with the bodies of requests and msgspec's schemas.

    Litestar leaves out the limits of list items, of dictionary values and of optional fields; msgspec, which does the
    checking, describes all that it checks.
    """
    document = copy.deepcopy(document)
    _, schemas = msgspec.json.schema_components([*_BODIES.values(), *_ANSWERS], ref_template=_REFERENCE)
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    document["components"]["schemas"] = schemas
    for path in document["paths"].values():
        for operation in path.values():
            if body := _BODIES.get(operation["operationId"]):
                operation["requestBody"] = _json_body(body)
    return encode_json(document)


def _json_body(struct: type[Struct]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=struct.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


class ExactJson(JsonRenderPlugin):
    """Serves the document of :func:`render` as ``openapi.json``."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document as JSON."""
        del request
        return render(openapi_schema)


CONFIG = OpenAPIConfig(
    title="letsbe orchestrator",
    version=__version__,
    description="The wire between agent and orchestrator. Instants are RFC 3339 in UTC; ids are UUIDv7.",
    path="/schema",
    render_plugins=[ExactJson()],
    components=Components(
        security_schemes={
            "bearer": SecurityScheme(
                type="http", scheme="bearer", description="The agent token that registration gave."
            )
        }
    ),
)
