"""Who comes through: the session before every page, the origin and the token of every form."""

from __future__ import annotations

import hmac
import time
from typing import Any
from urllib.parse import parse_qs, quote

from anyio.to_thread import run_sync
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.orchestrator import admin as administrator
from letsbe.orchestrator.home import Home
from letsbe.orchestrator.pages import sessions
from letsbe.orchestrator.pages.sessions import Session
from letsbe.orchestrator.store import Store

#: A request behind the gate.
PageRequest = Request[Session, None, Any]

#: A form: its fields, each with all its values.
Form = dict[str, list[str]]


class Desk(Struct, frozen=True):
    """What the pages work with, as ``app.state.desk``."""

    home: Home
    store: Store

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie value."""
        admin = administrator.load(self.home)
        if admin is None or not cookie:
            return None
        with self.store.read() as connection:
            return sessions.find(connection, admin, cookie, time.time())


class NotLoggedIn(Exception):  # noqa: N818 - no failure: it leads to the login
    """No session: ``back`` is where to go on after the login."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


class Gate(AbstractAuthenticationMiddleware):
    """Lets through what belongs to a session."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """The session. Raises :class:`NotLoggedIn`."""
        desk: Desk = connection.app.state.desk
        session = await run_sync(desk.session, connection.cookies.get(sessions.COOKIE, ""))
        if session is None:
            path, query = quote(connection.scope["path"]), connection.scope["query_string"].decode("latin-1")
            wanted = connection.scope.get("method") == "GET"
            raise NotLoggedIn(local_path(f"{path}{'?' * bool(query)}{query}") if wanted else "/")
        return AuthenticationResult(user=session, auth=None)


def page_form(request: PageRequest, body: bytes) -> Form:
    """The form that a session sent. Raises ``form_refused``, ``invalid_request``."""
    return checked_form(request, body, request.user.form_token)


def checked_form(request: Request[Any, Any, Any], body: bytes, token: str) -> Form:
    """The form in ``body``, which must come from a page of ours (``Origin``) and carry ``token``.

    Raises ``form_refused``, ``invalid_request``.
    """
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    # The scheme is not compared: behind a balancer that ends TLS it is another one here.
    if not host or origin.partition("://")[2].lower() != host.lower():
        raise _refused(f"the form came from {origin or 'nowhere'}, not from {host}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise LetsbeError("invalid_request", f"the form is of type {kind!r}")
    try:
        form = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=2_000)
    except ValueError as error:
        raise LetsbeError("invalid_request", f"the form can't be read: {error}") from error
    if not hmac.compare_digest(value(form, "form_token").encode(errors="replace"), token.encode()):
        raise _refused("the form belongs to no session, or to another one")
    return form


def value(form: Form, name: str) -> str:
    """The one value of a field, empty when there is none; line ends are line feeds."""
    return form.get(name, [""])[0].replace("\r\n", "\n")


def local_path(text: str) -> str:
    """``text`` when it is a path on this very site, else the first page."""
    plain = text.isascii() and text.isprintable() and " " not in text
    return text if plain and text.startswith("/") and text[1:2] not in ("/", "\\") else "/"


def _refused(reason: str) -> LetsbeError:
    return LetsbeError("form_refused", reason, hint="Load the page anew and send it again.")
