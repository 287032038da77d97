"""The ASGI application."""

from __future__ import annotations

import msgspec
from anyio import to_thread
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from letsbe.orchestrator import openapi
from letsbe.orchestrator.engines import POOL_SIZE
from letsbe.orchestrator.home import Home, Settings
from letsbe.orchestrator.pages.headers import secure
from letsbe.orchestrator.problems import EXCEPTION_HANDLERS
from letsbe.orchestrator.routes import Service, agent_router, register
from letsbe.orchestrator.store import Store
from letsbe.protocol import MAX_BODY_BYTES

#: Requests that are worked on at once; further ones wait. Each holds one connection to the database at a time.
THREADS = POOL_SIZE - 4


def create_app(service: Service, home: Home | None = None) -> Litestar:
    """The API over ``service``, and the pages of ``home`` if one is given; it closes the store when it stops."""
    pages: list[ControllerRouterHandler] = []
    desk = None
    if home is not None:
        from letsbe.orchestrator.pages.gate import Desk
        from letsbe.orchestrator.pages.router import PAGES

        pages, desk = PAGES, Desk(home, service.store)
    return Litestar(
        route_handlers=[register, agent_router, *pages],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        state=State({"service": service, "desk": desk}),
        before_send=[secure],
        exception_handlers=EXCEPTION_HANDLERS,
        on_startup=[_limit_threads],
        on_shutdown=[service.store.close],
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        openapi_config=openapi.CONFIG,
    )


async def _limit_threads() -> None:
    to_thread.current_default_thread_limiter().total_tokens = THREADS


def openapi_document() -> bytes:
    """The OpenAPI document as indented JSON; it needs no home and no database."""
    app = create_app(Service(Settings(), Store("sqlite://"), ""))
    return msgspec.json.format(openapi.render(app.openapi_schema.to_schema()), indent=2)
