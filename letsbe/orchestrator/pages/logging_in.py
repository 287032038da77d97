"""Logging in and out."""

from __future__ import annotations

import time
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import QueryParameter, RawBody
from litestar.response import Redirect

from letsbe.errors import LetsbeError
from letsbe.orchestrator import admin as administrator
from letsbe.orchestrator.admin import Admin
from letsbe.orchestrator.pages import sessions
from letsbe.orchestrator.pages.gate import Desk, PageRequest, checked_form, local_path, page_form, value
from letsbe.orchestrator.pages.rendering import page
from letsbe.orchestrator.problems import log

#: No form but that of a task is longer, in bytes.
SMALL_FORM_BYTES = 64 * 1024


@get("/login", sync_to_thread=True)
def login_page(request: Request[Any, Any, Any], back: Annotated[str, QueryParameter()] = "/") -> Response[str]:
    """The form, or how to set a password."""
    admin = administrator.load(_desk(request).home)
    return _unset(request) if admin is None else _form(request, admin, local_path(back))


@post("/login", sync_to_thread=True, request_max_body_size=SMALL_FORM_BYTES, status_code=200)
def login(request: Request[Any, Any, Any], body: RawBody) -> Response[Any]:
    """Begin a session for who knows the password."""
    desk = _desk(request)
    admin = administrator.load(desk.home)
    if admin is None:
        return _unset(request)
    known = request.cookies.get(sessions.LOGIN_COOKIE, "")
    form = checked_form(request, body, sessions.login_form_token(admin, known))
    back = local_path(value(form, "back"))
    address = request.client.host if request.client else ""
    try:
        with desk.store.write() as connection:
            sessions.count_attempt(connection, address, time.time())
    except LetsbeError as error:
        log.warning("login refused to %s: %s", address, error.message)
        return _form(request, admin, back, error=f"{error.message}. {error.hint}", status_code=429)
    if not administrator.is_password(desk.home, admin, value(form, "password")):
        log.warning("login failed from %s", address)
        return _form(request, admin, back, error="This is not the password.", status_code=403)
    with desk.store.write() as connection:
        sessions.forget_attempts(connection, address)
        cookie = sessions.begin(connection, admin, time.time())
    log.info("login from %s", address)
    cookies = [_cookie(sessions.COOKIE, cookie), _cookie(sessions.LOGIN_COOKIE, "", max_age=0)]
    return Redirect(back, status_code=303, cookies=cookies)


@post("/logout", sync_to_thread=True, request_max_body_size=SMALL_FORM_BYTES, status_code=303)
def logout(request: PageRequest, body: RawBody) -> Redirect:
    """End the session."""
    page_form(request, body)
    with _desk(request).store.write() as connection:
        sessions.end(connection, request.user)
    return Redirect("/login", status_code=303, cookies=[_cookie(sessions.COOKIE, "", max_age=0)])


def _unset(request: Request[Any, Any, Any]) -> Response[str]:
    return page(request, "unset.html", status_code=503)


def _form(
    request: Request[Any, Any, Any], admin: Admin, back: str, *, error: str = "", status_code: int = 200
) -> Response[str]:
    cookie = request.cookies.get(sessions.LOGIN_COOKIE) or sessions.new_token()
    token = sessions.login_form_token(admin, cookie)
    answer = page(request, "login.html", status_code=status_code, form_token=token, back=back, error=error)
    answer.set_cookie(_cookie(sessions.LOGIN_COOKIE, cookie))
    if status_code == 429:
        answer.set_header("Retry-After", str(sessions.WINDOW_S))
    return answer


def _cookie(name: str, content: str, max_age: int | None = None) -> Cookie:
    return Cookie(key=name, value=content, path="/", secure=True, httponly=True, samesite="strict", max_age=max_age)


def _desk(request: Request[Any, Any, Any]) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
