"""Which pages there are, and which of them are behind the gate."""

from __future__ import annotations

from importlib import resources

from litestar import Response, Router, get
from litestar.types import ControllerRouterHandler

from letsbe.orchestrator.pages import browsing, logging_in, submitting
from letsbe.orchestrator.pages.faults import EXCEPTION_HANDLERS
from letsbe.orchestrator.pages.gate import Gate

_STATIC = resources.files("letsbe.orchestrator.pages").joinpath("static")


@get("/pages.css", sync_to_thread=False)
def stylesheet() -> Response[bytes]:
    """The one stylesheet."""
    return _static("pages.css", "text/css")


@get("/favicon.svg", sync_to_thread=False)
def icon() -> Response[bytes]:
    """The sign in the browser's tab."""
    return _static("favicon.svg", "image/svg+xml")


def _static(name: str, media_type: str) -> Response[bytes]:
    content = _STATIC.joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=300"})


_OPEN = Router(
    path="/",
    route_handlers=[stylesheet, icon, logging_in.login_page, logging_in.login],
    exception_handlers=EXCEPTION_HANDLERS,
    include_in_schema=False,
)

#: What needs a session. A new page goes here.
BEHIND_THE_GATE = Router(
    path="/",
    route_handlers=[
        logging_in.logout,
        browsing.agents_page,
        browsing.agent_page,
        browsing.tasks_page,
        browsing.task_page,
        browsing.cancel_page,
        browsing.cancel,
        submitting.choose_page,
        submitting.form_page,
        submitting.submit,
    ],
    middleware=[Gate],
    exception_handlers=EXCEPTION_HANDLERS,
    include_in_schema=False,
)

PAGES: list[ControllerRouterHandler] = [_OPEN, BEHIND_THE_GATE]
