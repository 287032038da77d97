"""An agent that speaks the protocol request by request, so that a test can send any of them twice, or wrong."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import requests

from letsbe.orchestrator import agents
from letsbe.protocol import RegisterRequest, new_id
from tests.orchestrator_fixture import Orchestrator


class FakeAgent:
    """An agent's side of the wire; every method returns the answer, whatever its status."""

    def __init__(self, orchestrator: Orchestrator, hostname: str = "web-1") -> None:
        self.orchestrator = orchestrator
        self.agent_id = new_id()
        self.fingerprint = os.urandom(32).hex()
        self.public_key = base64.b64encode(os.urandom(32)).decode()
        self.hostname = hostname
        self.token: str | None = None

    def register(self, enrolment_token: str, **changes: Any) -> requests.Response:
        body = {
            "enrolment_token": enrolment_token,
            "agent_id": self.agent_id,
            "public_key": self.public_key,
            "hostname": self.hostname,
            "fingerprint": self.fingerprint,
            "version": "1.0.0",
            "executors": {"ECHO": 1, "FILE_WRITE": 3},
            **changes,
        }
        answer = self.post("/api/v1/agents/register", body, authorization=None)
        if answer.status_code == 201:
            self.token = answer.json()["agent_token"]
        return answer

    def poll(self, **body: Any) -> requests.Response:
        return self.post(f"/api/v1/agents/{self.agent_id}/poll", {"version": "1.0.0", **body})

    def offers(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.poll(**body)
        assert answer.status_code == 200, answer.text
        offers: list[dict[str, Any]] = answer.json()["tasks"]
        return offers

    def claim(self, task_id: str, attempt_id: str) -> requests.Response:
        return self.post(f"/api/v1/tasks/{task_id}/attempts/{attempt_id}/claim", b"")

    def take(self) -> tuple[str, str]:
        """Poll and claim the one task that is offered: its id, the attempt's."""
        (offer,) = self.offers()
        assert self.claim(offer["task_id"], offer["attempt_id"]).status_code == 200
        return offer["task_id"], offer["attempt_id"]

    def result(self, task_id: str, attempt_id: str, outcome: dict[str, Any] | bytes) -> requests.Response:
        return self.request("PUT", f"/api/v1/tasks/{task_id}/attempts/{attempt_id}/result", outcome)

    def post(self, path: str, body: Any, **arguments: Any) -> requests.Response:
        return self.request("POST", path, body, **arguments)

    def request(self, method: str, path: str, body: Any, *, authorization: str | None = "own") -> requests.Response:
        """Send ``body`` (bytes, or JSON); ``authorization`` is the header, None for no header."""
        headers = {"Content-Type": "application/json"}
        if authorization is not None:
            headers["Authorization"] = f"Bearer {self.token}" if authorization == "own" else authorization
        return requests.request(
            method,
            self.orchestrator.url + path,
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers=headers,
            verify=self.orchestrator.ca_file,
            timeout=30,
        )


def registered(orchestrator: Orchestrator, hostname: str = "web-1") -> FakeAgent:
    """An agent that has registered."""
    agent = FakeAgent(orchestrator, hostname)
    assert agent.register(orchestrator.enrol()).status_code == 201
    return agent


def add_agent(home: Orchestrator, hostname: str = "web-1", **labels: str) -> str:
    """The id of an agent that is put into the database as registration leaves it; it never polls."""
    fake = FakeAgent(home, hostname)
    request = RegisterRequest(
        enrolment_token=home.enrol(labels=labels),
        agent_id=fake.agent_id,
        public_key=fake.public_key,
        hostname=hostname,
        fingerprint=fake.fingerprint,
        version="1.0.0",
        executors={"ECHO": 1},
    )
    with home.database() as connection:
        agents.register(connection, request, 0)
    return fake.agent_id


def outcome(task_id: str | None, **changes: Any) -> dict[str, Any]:
    """A succeeded ECHO's outcome."""
    return {
        "task_id": task_id,
        "type": "ECHO",
        "status": "succeeded",
        "success": True,
        "changed": False,
        "data": {"message": "hello"},
        "error": None,
        "warnings": [],
        "check": False,
        "started_at": "2026-11-23T10:00:00Z",
        "duration_ms": 12,
        "agent_version": "1.0.0",
        **changes,
    }


def problem(answer: requests.Response) -> tuple[int, str]:
    """Status and type of a problem document, once it has been found to be one."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"]
    return answer.status_code, document["type"]
