"""Every error answer of the API, as an RFC 9457 problem document."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import ResponseSpec

from letsbe import protocol
from letsbe.errors import LetsbeError
from letsbe.protocol import PROBLEM_MEDIA_TYPE, Problem

log = logging.getLogger("letsbe.orchestrator")


class Kind(NamedTuple):
    """How an error code is answered."""

    status: int
    type: str = "about:blank"


KINDS: dict[str, Kind] = {
    "invalid_request": Kind(400),
    "unauthenticated": Kind(401),
    "agent_unknown": Kind(401, protocol.PROBLEM_AGENT_UNKNOWN),
    "foreign_agent": Kind(403),
    "enrolment_token_refused": Kind(403, protocol.PROBLEM_TOKEN_REFUSED),
    "task_unknown": Kind(404),
    "fingerprint_mismatch": Kind(409, protocol.PROBLEM_FINGERPRINT_MISMATCH),
    "attempt_conflict": Kind(409, protocol.PROBLEM_ATTEMPT_CONFLICT),
    "result_conflict": Kind(409, protocol.PROBLEM_RESULT_CONFLICT),
    "task_gone": Kind(410, protocol.PROBLEM_TASK_GONE),
    "result_too_large": Kind(413, protocol.PROBLEM_RESULT_TOO_LARGE),
    "database_unavailable": Kind(503),
}

#: What is answered while the database can't be reached or is locked; seconds.
RETRY_AFTER_S = 5

_MEANING = {
    400: "The request is not valid; `detail` says where.",
    401: "No valid bearer token. Only the type `agent-unknown` calls for a new registration.",
    403: "The token does not allow this.",
    404: "No such task for this agent.",
    409: "In conflict with what is known; `type` says with what.",
    410: "The task was cancelled, has expired, or is finished.",
    413: "Too large; `limit` is the most that is taken, in bytes.",
    500: "A fault of the orchestrator.",
    503: "The database is not reachable or busy; see Retry-After.",
}


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The problem answers of a route, for the OpenAPI document."""
    return {
        status: ResponseSpec(
            Problem, generate_examples=False, description=_MEANING[status], media_type=PROBLEM_MEDIA_TYPE
        )
        for status in (*statuses, 500, 503)
    }


def result_too_large(limit: int) -> LetsbeError:
    """An outcome of more than ``limit`` bytes: the agent shortens it and sends it again."""
    return LetsbeError(
        "result_too_large", f"the outcome is larger than the limit of {limit} bytes", details={"limit": limit}
    )


def answer(
    status: int,
    detail: str,
    *,
    type_: str = "about:blank",
    limit: int | None = None,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """A problem document; its title is the status's own phrase."""
    problem = Problem(type=type_, title=HTTPStatus(status).phrase, status=status, detail=detail, limit=limit)
    return Response(
        msgspec.json.encode(problem),
        status_code=status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def on_letsbe_error(request: Request[Any, Any, Any], error: LetsbeError) -> Response[bytes]:
    """A foreseen error; one that no route foresees is a fault of ours."""
    kind = KINDS.get(error.code)
    if kind is None:
        return on_fault(request, error)
    if kind.status == 503:
        return on_database_away(error)
    detail = f"{error.message}. {error.hint}" if error.hint else error.message
    headers = {"WWW-Authenticate": "Bearer"} if kind.status == 401 else {}
    return answer(kind.status, detail, type_=kind.type, limit=error.details.get("limit"), headers=headers)


def on_validation(_request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """An id in the path that is none."""
    faults = error.extra if isinstance(error.extra, list) else []
    places = [f"{fault.get('message')} - at `{fault.get('key')}` in the path" for fault in faults]
    return answer(400, "; ".join(places) or error.detail)


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework raises itself: 404, 405, malformed JSON, and the like."""
    if error.status_code >= 500:  # a connection that was cut, for one
        log.warning("%s %s: %s", request.method, request.scope["path"], error.detail)
    if error.status_code == 413 and request.scope["path"].endswith("/result"):
        return on_letsbe_error(request, result_too_large(request.app.state.service.settings.result_bytes))
    limit = request.route_handler.resolve_request_max_body_size() if error.status_code == 413 else None
    return answer(error.status_code, error.detail, limit=limit, headers=dict(error.headers or {}))


def on_database_away(error: LetsbeError) -> Response[bytes]:
    """Locked too long, or restarting: the agent comes again. What was wrong is for the log alone."""
    log.warning("%s", error.message)
    return answer(503, "the database is not reachable or busy", headers={"Retry-After": str(RETRY_AFTER_S)})


def on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: the traceback goes to the log, not to the agent."""
    log.error("%s %s", request.method, request.scope["path"], exc_info=error)
    return answer(500, "the orchestrator failed; its log says why")


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    LetsbeError: on_letsbe_error,
    ValidationException: on_validation,
    HTTPException: on_http,
    Exception: on_fault,
}
