"""Somebody who looks at the pages without a browser, and so can send any form, or a wrong one."""

from __future__ import annotations

import html
import re
from typing import Any

import requests

from letsbe.orchestrator import admin
from tests.orchestrator_fixture import Orchestrator

PASSWORD = "correct horse battery"


class Visitor:
    """Cookies of their own; every method returns the answer, redirects not followed."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = orchestrator.ca_file

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.orchestrator.url + path, allow_redirects=False, timeout=30)

    def post(self, path: str, form: Any = (), *, origin: str | None = "own", **headers: str) -> requests.Response:
        """Send a form; ``origin`` is the header, None for no header."""
        if origin is not None:
            headers["Origin"] = self.orchestrator.url if origin == "own" else origin
        url = self.orchestrator.url + path
        return self.session.post(url, data=form, headers=headers, allow_redirects=False, timeout=30)

    def login(self, password: str = PASSWORD, back: str = "/") -> requests.Response:
        form = {"form_token": token_in(self.get("/login")), "password": password, "back": back}
        return self.post("/login", form)

    def token(self) -> str:
        """The token that this session's forms carry."""
        return token_in(self.get("/"))

    def form(self, path: str, **fields: Any) -> dict[str, Any]:
        """The hidden fields of a task's form, and what it holds at first, with ``fields`` filled in."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', answer.text))
        return {**found, "timeout": "10m", "expires": "24h", "not_before": "", **fields}


def logged_in(orchestrator: Orchestrator) -> Visitor:
    """The administrator, who is set if there was none."""
    if admin.load(orchestrator.home) is None:
        admin.set_password(orchestrator.home, PASSWORD)
    visitor = Visitor(orchestrator)
    assert visitor.login().status_code == 303
    return visitor


def token_in(answer: requests.Response) -> str:
    """The form token on a page."""
    found = re.search(r'name="form_token" value="(\w+)"', answer.text)
    assert found, answer.text
    return found[1]


def text_of(answer: requests.Response) -> str:
    """What a reader sees, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2])).split())
