"""Errors of the pages, as pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Redirect

from letsbe.errors import LetsbeError
from letsbe.orchestrator.pages.gate import NotLoggedIn
from letsbe.orchestrator.pages.rendering import page
from letsbe.orchestrator.problems import KINDS, RETRY_AFTER_S, log

#: Where an error code of the pages is answered with another status than the API's, or has none there.
_STATUSES = {"agent_unknown": 404, "type_unknown": 404, "form_refused": 403}


def _to_login(_request: Request[Any, Any, Any], error: NotLoggedIn) -> Redirect:
    return Redirect(f"/login?back={quote(error.back, safe='/')}", status_code=303)


def _foreseen(request: Request[Any, Any, Any], error: LetsbeError) -> Response[str]:
    kind = KINDS.get(error.code)
    status = _STATUSES.get(error.code) or (kind.status if kind else 500)
    if status >= 500:
        log.error("%s %s: %s", request.method, request.scope["path"], error)
    answer = _page(request, status, error.message, error.hint)
    if status == 503:
        answer.set_header("Retry-After", str(RETRY_AFTER_S))
    return answer


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    return _page(request, error.status_code, error.detail.partition(":")[0] or "the request is not valid")


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    log.error("%s %s", request.method, request.scope["path"], exc_info=error)
    return _page(request, 500, "the orchestrator failed; its log says why")


def _page(request: Request[Any, Any, Any], status: int, message: str, hint: str = "") -> Response[str]:
    return page(request, "error.html", status_code=status, status=status, message=message, hint=hint)


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    NotLoggedIn: _to_login,
    LetsbeError: _foreseen,
    HTTPException: _http,
    ValidationException: _http,  # else the API's handler, which names it, would win over that of its base
    Exception: _fault,
}
