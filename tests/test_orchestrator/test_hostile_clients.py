"""What clients with nothing to lose send is answered as what it is, and the log stays what the orchestrator says."""

from __future__ import annotations

import logging
import re
import sys

import pytest
from sqlalchemy import update

from letsbe.orchestrator import log_lines
from letsbe.orchestrator.tables import agents
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, add_agent, problem
from tests.test_orchestrator.visitor import Visitor, logged_in

#: What would be a line of the log.
FORGED = "2026-11-26 00:00:00,000 INFO login from 6.6.6.6"


@pytest.mark.parametrize("text", ["%00", f"%00%0A{FORGED}", "x" * 100], ids=["NUL", "NUL and a line", "long"])
def test_what_is_no_id_never_comes_to_the_database(shared_orchestrator: Orchestrator, text: str) -> None:
    before = shared_orchestrator.log()
    answer = FakeAgent(shared_orchestrator).post(f"/api/v1/agents/{text}/poll", {}, authorization="Bearer x")
    assert problem(answer) == (400, "about:blank")
    assert shared_orchestrator.log() == before


def test_a_path_begins_no_line_of_the_log(orchestrator: Orchestrator) -> None:
    agent, visitor = add_agent(orchestrator), logged_in(orchestrator)
    with orchestrator.database() as connection:
        connection.execute(update(agents).values(executors=5))
    assert visitor.get(f"/submit/{agent}/X%0A{FORGED}").status_code == 500
    assert f"GET /submit/{agent}/X\\n{FORGED}\n" in orchestrator.log()
    assert FORGED not in orchestrator.log().splitlines()


def test_the_text_of_an_exception_begins_no_line_of_the_log() -> None:
    try:
        raise ValueError(f"x\n{FORGED}\u2028\x1b[2J")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "%s", ("a\r\nb",), sys.exc_info())
    first, *others = log_lines.Formatter().format(record).split("\n")
    assert re.fullmatch(r"\S+ \S+ ERROR a\\r\\nb", first)
    assert f"  {FORGED}" in others
    assert all(line.startswith("  ") and line.isprintable() for line in others)


def test_a_client_is_who_connects_whatever_it_says(orchestrator: Orchestrator) -> None:
    visitor = logged_in(orchestrator)
    visitor.session.headers["X-Forwarded-For"] = "6" * 100
    assert visitor.login("not the password").status_code == 403
    assert "login failed from 127.0.0.1\n" in orchestrator.log()


def test_a_host_that_is_none_is_no_fault(paged: Orchestrator) -> None:
    visitor = Visitor(paged)
    visitor.session.headers["Host"] = "a:99999999"
    assert visitor.get("/login").status_code == 200
    assert visitor.get("/").headers["location"] == "/login?back=/"
    assert "Traceback" not in paged.log()


@pytest.mark.parametrize("origin", ["https://[", "https://a:x", "//", "null"])
def test_an_origin_that_is_none_is_refused(paged: Orchestrator, origin: str) -> None:
    assert Visitor(paged).post("/login", {}, origin=origin).status_code == 403
    assert "Traceback" not in paged.log()
