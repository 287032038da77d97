"""What was answered with success is there after the orchestrator was killed; being stopped loses nothing either."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import select

from letsbe.orchestrator.server import _listen
from letsbe.orchestrator.tables import agents
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, outcome, problem, registered

ROUNDS = 5
AGENTS = 3


class Worker(threading.Thread):
    """An agent that gets task after task and sees each through, whatever happens to the orchestrator."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        super().__init__()
        self.orchestrator = orchestrator
        self.agent = registered(orchestrator)
        self.submitted: list[str] = []
        self.attempts: dict[str, str] = {}
        self.claimed: set[str] = set()
        self.reported: set[str] = set()
        self.cut_off = 0
        self.last = threading.Event()
        self.deadline = time.monotonic() + 60

    def run(self) -> None:
        while time.monotonic() < self.deadline:
            if len(self.reported) == len(self.submitted):
                if self.last.is_set():
                    return
                self.submitted.append(self.orchestrator.submit("ECHO", agent=self.agent.agent_id))
            try:
                for offer in self.agent.offers():
                    attempt_id = self.attempts.setdefault(offer["task_id"], offer["attempt_id"])
                    assert attempt_id == offer["attempt_id"], "one task under two attempts"
                for task_id in self.attempts.keys() - self.reported:
                    self._see_through(task_id)
            except requests.RequestException:
                self.cut_off += 1
                time.sleep(0.01)

    def _see_through(self, task_id: str) -> None:
        if task_id not in self.claimed:  # or the answer was lost: a claimed task is not offered again, so ask again
            assert self.agent.claim(task_id, self.attempts[task_id]).status_code == 200
            self.claimed.add(task_id)
        answer = self.agent.result(task_id, self.attempts[task_id], outcome(task_id))
        assert answer.status_code == 200, answer.text
        self.reported.add(task_id)


def test_kill_9_in_the_middle_of_everything_loses_nothing(orchestrator: Orchestrator) -> None:
    workers = [Worker(orchestrator) for _ in range(AGENTS)]
    for worker in workers:
        worker.start()
    for _ in range(ROUNDS):
        before = sum(len(worker.reported) for worker in workers)
        time.sleep(0.3)
        while sum(len(worker.reported) for worker in workers) == before:  # a busy machine
            assert all(worker.is_alive() for worker in workers)
            time.sleep(0.05)
        acknowledged = [task_id for worker in workers for task_id in set(worker.reported)]
        orchestrator.stop(signal.SIGKILL)
        for task_id in acknowledged[-20:]:
            assert orchestrator.outcome(task_id) == outcome(task_id)
        orchestrator.start()
    for worker in workers:
        worker.last.set()
        worker.join()
    for worker in workers:
        assert worker.cut_off
        assert worker.reported == set(worker.submitted)
        assert {orchestrator.task(task_id).state for task_id in worker.submitted} == {"finished"}


def test_sigterm_ends_it_with_0_though_a_client_keeps_its_connection(orchestrator: Orchestrator) -> None:
    with requests.Session() as session:
        session.get(f"{orchestrator.url}/schema/openapi.json", verify=orchestrator.ca_file, timeout=10)
        begun = time.monotonic()
        assert orchestrator.stop() == 0
        assert time.monotonic() - begun < 20
    assert "Traceback" not in orchestrator.log()


def test_a_locked_database_is_answered_with_503_and_when_to_come_again(orchestrator: Orchestrator) -> None:
    agent = registered(orchestrator)
    agent.poll()
    with orchestrator.database() as blocker:
        blocker.execute(select(agents).where(agents.c.agent_id == agent.agent_id).with_for_update())
        answer = agent.poll()
    assert problem(answer) == (503, "about:blank")
    assert int(answer.headers["retry-after"]) > 0
    assert agent.poll().status_code == 200


def test_a_fault_is_a_problem_document_and_its_traceback_stays_in_the_log(orchestrator: Orchestrator) -> None:
    agent = registered(orchestrator)
    agent.poll()
    orchestrator.submit("ECHO", {}, agent=agent.agent_id)
    with orchestrator.database() as connection:
        connection.exec_driver_sql("UPDATE tasks SET envelope = 'not JSON'")
    answer = agent.poll()
    assert problem(answer) == (500, "about:blank")
    assert "Traceback" not in answer.text
    assert "DecodeError" in orchestrator.log()


@pytest.mark.parametrize("cut_at", [40, 200, 400])
def test_a_request_that_is_cut_off_changes_nothing(orchestrator: Orchestrator, cut_at: int) -> None:
    agent = registered(orchestrator)
    orchestrator.submit("ECHO", {}, agent=agent.agent_id)
    task_id, attempt_id = agent.take()
    _send_cut(agent, f"/api/v1/tasks/{task_id}/attempts/{attempt_id}/result", outcome(task_id), cut_at)
    assert agent.poll().status_code == 200
    assert orchestrator.task(task_id).state == "claimed"
    assert "Traceback" not in orchestrator.log()


def _send_cut(agent: FakeAgent, path: str, body: object, cut_at: int) -> None:
    encoded = json.dumps(body).encode()
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agent.token}\r\nContent-Length: {len(encoded)}\r\n"
    )
    address = urlsplit(agent.orchestrator.url)
    context = ssl.create_default_context(cafile=agent.orchestrator.ca_file)
    with (
        socket.create_connection((address.hostname or "", address.port or 0), 10) as raw,
        context.wrap_socket(raw, server_hostname=address.hostname) as stream,
    ):
        stream.sendall((head.encode() + b"\r\n" + encoded)[:cut_at])


def test_answers_do_not_wait_for_delayed_acknowledgements() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), 10):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
