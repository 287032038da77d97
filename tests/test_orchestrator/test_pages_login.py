"""Who gets to the pages, and who does not."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import requests
from sqlalchemy import delete, insert, select, update

from letsbe.errors import LetsbeError
from letsbe.orchestrator import admin
from letsbe.orchestrator.pages import sessions
from letsbe.orchestrator.pages.gate import local_path
from letsbe.orchestrator.pages.headers import HEADERS
from letsbe.orchestrator.pages.router import BEHIND_THE_GATE
from letsbe.orchestrator.tables import login_attempts, page_sessions
from letsbe.protocol import new_id
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.visitor import PASSWORD, Visitor, logged_in, text_of, token_in

NOBODY = "00000000-0000-7000-8000-000000000000"


def routes(method: str) -> list[str]:
    """The paths behind the gate that take ``method``, with ids in them."""
    paths = [route.path for route in BEHIND_THE_GATE.routes if method in route.methods]  # type: ignore[union-attr]
    for name, value in (("{agent_id:str}", NOBODY), ("{task_id:str}", NOBODY), ("{task_type:str}", "ECHO")):
        paths = [path.replace(name, value) for path in paths]
    return sorted(paths)


def test_without_an_administrator_the_pages_say_how_to_set_one_and_the_api_works(orchestrator: Orchestrator) -> None:
    visitor = Visitor(orchestrator)
    assert visitor.get("/").headers["location"] == "/login?back=/"
    answer = visitor.get("/login")
    assert answer.status_code == 503
    assert "letsbe-orchestrator admin" in text_of(answer)
    assert visitor.post("/login", {"password": ""}).status_code == 503
    assert visitor.get("/schema/openapi.json").status_code == 200

    done = orchestrator.run("admin", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert visitor.login().status_code == 303
    assert visitor.get("/").status_code == 200
    assert (orchestrator.path / "admin.json").stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in (orchestrator.path / "admin.json").read_text()

    assert orchestrator.run("admin", "--remove").stdout == "removed\n"
    assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    ("password", "message"),
    [("short", "has 5 characters"), ("", "has 0 characters"), ("x" * 1025, "has 1025 characters")],
    ids=["short", "empty", "long"],
)
def test_a_password_that_is_none_is_refused(home: Orchestrator, password: str, message: str) -> None:
    done = home.run("admin", stdin=password)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (home.path / "admin.json").exists()


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(home: Orchestrator) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "letsbe.orchestrator", "admin", "--home", str(home.path)])
    shown = b""
    for _ in range(2):
        while not shown.endswith((b"Password: ", b"confirmation: ")):
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{PASSWORD}\n".encode())
        shown += b"|"
    with suppress(OSError):  # EIO once the other end is closed
        while piece := os.read(terminal, 1024):
            shown += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert PASSWORD.encode() not in shown
    made = admin.load(home.home)
    assert made is not None
    assert admin.is_password(home.home, made, PASSWORD)


def test_a_password_file_that_is_spoilt_is_named(home: Orchestrator) -> None:
    (home.path / "admin.json").write_text("{}")
    (home.path / "admin.json").chmod(0o600)
    with pytest.raises(admin.LetsbeError, match="admin_unreadable"):
        admin.load(home.home)


@pytest.mark.parametrize("path", routes("GET"))
def test_no_page_is_shown_without_a_session(paged: Orchestrator, path: str) -> None:
    answer = Visitor(paged).get(path)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize("path", routes("POST"))
def test_no_form_is_taken_without_a_session(paged: Orchestrator, path: str) -> None:
    answer = Visitor(paged).post(path, {"form_token": "0" * 64})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?back=/")


Spoil = Callable[[Visitor], dict[str, Any]]
SPOILT: dict[str, Spoil] = {
    "no token": lambda visitor: {"form": {"something": "else"}},
    "empty token": lambda visitor: {"form": {"form_token": ""}},
    "wrong token": lambda visitor: {"form": {"form_token": "0" * 64}},
    "not ascii": lambda visitor: {"form": {"form_token": "\u00e9\udcff".encode(errors="surrogateescape")}},
    "another session's token": lambda visitor: {"form": {"form_token": logged_in(visitor.orchestrator).token()}},
    "no origin": lambda visitor: {"form": {"form_token": visitor.token()}, "origin": None},
    "null origin": lambda visitor: {"form": {"form_token": visitor.token()}, "origin": "null"},
    "foreign origin": lambda visitor: {"form": {"form_token": visitor.token()}, "origin": "https://evil.example"},
    "origin that only begins so": lambda visitor: {
        "form": {"form_token": visitor.token()},
        "origin": f"{visitor.orchestrator.url}.evil.example",
    },
    "not a form": lambda visitor: {"form": b"{}", "Content-Type": "application/json"},
    "not utf-8": lambda visitor: {"form": b"\xff=1", "Content-Type": "application/x-www-form-urlencoded"},
}


@pytest.mark.parametrize("path", routes("POST"))
def test_no_form_is_taken_without_its_token(visitor: Visitor, path: str) -> None:
    assert visitor.post(path, {"json": "{}"}).status_code == 403


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_form_that_did_not_come_from_a_page_of_the_session_is_refused(visitor: Visitor, spoil: Spoil) -> None:
    answer = visitor.post("/logout", **spoil(visitor))
    assert answer.status_code in (400, 403), answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert visitor.get("/").status_code == 200


def test_the_cookie_is_for_this_host_https_and_no_script(visitor: Visitor) -> None:
    answer = Visitor(visitor.orchestrator).login()
    cookie = next(value for value in answer.raw.headers.getlist("set-cookie") if value.startswith("__Host-letsbe="))
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"secure", "httponly", "samesite=strict", "path=/"}


def test_a_wrong_password_opens_nothing_and_attempts_are_limited_and_counted_anew_after_a_while(
    orchestrator: Orchestrator,
) -> None:
    admin.set_password(orchestrator.home, PASSWORD)
    visitor = Visitor(orchestrator)
    for _ in range(sessions.PER_ADDRESS):
        wrong = visitor.login("not the password")
        assert wrong.status_code == 403
        assert "This is not the password." in text_of(wrong)
        assert "not the password" not in text_of(wrong).replace("This is not the password.", "")
        assert visitor.get("/").status_code == 303
    refused = visitor.login()
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(sessions.WINDOW_S)
    assert "too many attempts" in text_of(refused)

    with orchestrator.database() as connection:
        connection.execute(update(login_attempts).values(at=login_attempts.c.at - sessions.WINDOW_S))
    assert visitor.login().status_code == 303
    with orchestrator.database() as connection:
        assert not connection.execute(select(login_attempts)).all()
        rows = [{"at": time.time(), "address": f"192.0.2.{number}"} for number in range(sessions.IN_ALL)]
        connection.execute(insert(login_attempts), rows)
    assert visitor.login().status_code == 429
    assert PASSWORD not in orchestrator.log()


def test_the_login_form_needs_its_cookie_and_a_foreign_page_can_not_send_it(visitor: Visitor) -> None:
    stranger = Visitor(visitor.orchestrator)
    form = {"form_token": token_in(stranger.get("/login")), "password": PASSWORD}
    assert stranger.post("/login", form, origin="https://evil.example").status_code == 403
    stranger.session.cookies.clear()
    assert stranger.post("/login", form).status_code == 403


def test_logging_out_ends_the_session_itself(paged: Orchestrator) -> None:
    visitor = logged_in(paged)
    thief = Visitor(visitor.orchestrator)
    thief.session.cookies.update(visitor.session.cookies)
    assert thief.get("/").status_code == 200
    assert visitor.post("/logout", {"form_token": visitor.token()}).status_code == 303
    assert visitor.get("/").status_code == 303
    assert thief.get("/").status_code == 303


def test_a_session_ends_with_its_time(paged: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LIFETIME_S", 0)
    made = admin.load(paged.home)
    assert made is not None
    with paged.database() as connection:
        over = sessions.begin(connection, made, time.time())
        # The row alone does not make it valid: the end is signed into the cookie.
        connection.execute(update(page_sessions).values(expires_at=time.time() + 3600))
    visitor = Visitor(paged)
    visitor.session.headers["Cookie"] = f"{sessions.COOKIE}={over}"
    assert visitor.get("/").status_code == 303


def test_a_row_in_the_database_makes_no_session(visitor: Visitor) -> None:
    token = sessions.new_token()
    with visitor.orchestrator.database() as connection:
        digest = sessions._hash(token)
        connection.execute(insert(page_sessions).values(token_hash=digest, expires_at=time.time() + 900))
    stranger = Visitor(visitor.orchestrator)
    stranger.session.headers["Cookie"] = f"{sessions.COOKIE}={token}.{int(time.time()) + 900}.{'0' * 64}"
    assert stranger.get("/").status_code == 303


def test_a_cookie_without_its_row_is_no_session(paged: Orchestrator) -> None:
    visitor = logged_in(paged)
    token = visitor.session.cookies[sessions.COOKIE].partition(".")[0]
    with paged.database() as connection:
        connection.execute(delete(page_sessions).where(page_sessions.c.token_hash == sessions._hash(token)))
    assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/tasks?agent=web-1", "/tasks?agent=web-1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_after_the_login_only_a_path_of_this_site_is_gone_to(visitor: Visitor, text: str, path: str) -> None:
    assert local_path(text) == path
    assert Visitor(visitor.orchestrator).login(back=text).headers["location"] == path


ANSWERS = {
    "page": lambda visitor: visitor.get("/"),
    "login": lambda visitor: Visitor(visitor.orchestrator).get("/login"),
    "redirect": lambda visitor: Visitor(visitor.orchestrator).get("/"),
    "refused form": lambda visitor: visitor.post("/logout"),
    "unknown task": lambda visitor: visitor.get(f"/tasks/{new_id()}"),
    "bad id": lambda visitor: visitor.get("/tasks/x"),
    "unknown path": lambda visitor: visitor.get("/nothing"),
    "wrong method": lambda visitor: visitor.post("/tasks"),
    "api": lambda visitor: visitor.post("/api/v1/agents/register"),
}


@pytest.mark.parametrize("ask", ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_has_the_headers(visitor: Visitor, ask: Callable[[Visitor], requests.Response]) -> None:
    answer = ask(visitor)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("path", routes("GET"))
def test_no_page_carries_a_script_or_a_style_of_its_own(visitor: Visitor, path: str) -> None:
    text = visitor.get(path).text.lower()
    for forbidden in ("<script", "<style", " style=", " onclick=", "http://", "https://"):
        assert forbidden not in text


def test_a_new_password_ends_every_session(home: Orchestrator) -> None:
    admin.set_password(home.home, PASSWORD)
    before = admin.load(home.home)
    assert before is not None
    with home.database() as connection:
        cookie = sessions.begin(connection, before, time.time())
        assert sessions.find(connection, before, cookie, time.time()) is not None
        admin.set_password(home.home, PASSWORD)
        after = admin.load(home.home)
        assert after is not None
        assert sessions.find(connection, after, cookie, time.time()) is None


def test_attempts_and_sessions_of_while_the_clock_was_ahead_count_for_nothing(home: Orchestrator) -> None:
    admin.set_password(home.home, PASSWORD)
    made = admin.load(home.home)
    assert made is not None
    now, ahead = time.time(), time.time() + 365 * 86_400
    with home.database() as connection:
        for _ in range(sessions.PER_ADDRESS):
            sessions.count_attempt(connection, "192.0.2.1", ahead)
        with pytest.raises(LetsbeError, match="too_many_attempts"):
            sessions.count_attempt(connection, "192.0.2.1", ahead)
        sessions.count_attempt(connection, "192.0.2.1", now)

        cookie = sessions.begin(connection, made, ahead)
        assert sessions.find(connection, made, cookie, ahead) is not None
        assert sessions.find(connection, made, cookie, now) is None
        sessions.begin(connection, made, now)
        assert len(connection.execute(select(page_sessions)).all()) == 1


def test_clocks_of_two_that_serve_may_differ_a_little(home: Orchestrator) -> None:
    admin.set_password(home.home, PASSWORD)
    made = admin.load(home.home)
    assert made is not None
    now = time.time()
    with home.database() as connection:
        cookie = sessions.begin(connection, made, now + 60)
        assert sessions.find(connection, made, cookie, now) is not None
        for _ in range(sessions.PER_ADDRESS):
            sessions.count_attempt(connection, "192.0.2.1", now + 60)
        with pytest.raises(LetsbeError, match="too_many_attempts"):
            sessions.count_attempt(connection, "192.0.2.1", now)
