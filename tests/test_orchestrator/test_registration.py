"""POST /api/v1/agents/register: who is admitted, and what a repetition gets."""

from __future__ import annotations

import base64
import os
import time
from typing import Any

import pytest

from letsbe import protocol
from letsbe.orchestrator.routes import REGISTRATION_BYTES
from letsbe.protocol import epoch, new_id
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, problem

REFUSED = (403, protocol.PROBLEM_TOKEN_REFUSED)


def test_registration_answers_with_a_token_the_signing_key_and_the_time(orchestrator: Orchestrator) -> None:
    agent = FakeAgent(orchestrator)
    answer = agent.register(orchestrator.enrol(labels={"site": "north"}))

    assert answer.status_code == 201
    body = answer.json()
    key = {"public_key": orchestrator.home.public_key(), "executors": ["*"], "paths": None}
    assert (body["trusted_keys"], body["key_set_version"]) == ({"main": key}, 0)
    assert abs(epoch(body["server_time"]) - time.time()) < 5
    assert agent.poll().status_code == 200
    (known,) = orchestrator.agents()
    assert (known.agent_id, known.hostname, known.labels) == (agent.agent_id, "web-1", {"site": "north"})
    assert known.executors == {"ECHO": 1, "FILE_WRITE": 3}
    assert known.last_seen_at is not None


def test_a_lost_answer_costs_nothing(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    token = shared_orchestrator.enrol()
    lost = agent.register(token).json()["agent_token"]
    again = agent.register(token)

    assert again.status_code == 201
    assert again.json()["agent_token"] != lost
    assert agent.poll().status_code == 200


def test_a_repeated_request_does_not_end_the_token_of_the_first_answer(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    token = shared_orchestrator.enrol()
    kept = agent.register(token).json()["agent_token"]
    other = agent.register(token).json()["agent_token"]

    agent.token = kept
    assert agent.poll().status_code == 200
    agent.token = other
    assert problem(agent.poll()) == (401, "about:blank")


def test_the_enrolment_token_is_spent_once_the_agent_has_polled(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    token = shared_orchestrator.enrol()
    agent.register(token)
    agent.poll()

    assert problem(agent.register(token)) == REFUSED
    assert agent.poll().status_code == 200


def test_a_new_enrolment_token_admits_a_known_agent_again_and_ends_its_old_token(
    shared_orchestrator: Orchestrator,
) -> None:
    agent = FakeAgent(shared_orchestrator)
    first = shared_orchestrator.enrol()
    agent.register(first)
    agent.poll()
    old = agent.token

    assert agent.register(shared_orchestrator.enrol()).status_code == 201
    new, agent.token = agent.token, old
    assert agent.poll().status_code == 200, "until the new token is used, the answer may be lost"
    agent.token = new
    assert agent.poll().status_code == 200
    agent.token = old
    assert problem(agent.poll())[0] == 401
    assert problem(agent.register(first)) == REFUSED


def test_repetitions_do_not_fill_the_database(orchestrator: Orchestrator) -> None:
    agent = FakeAgent(orchestrator)
    token = orchestrator.enrol()
    for _ in range(12):
        assert agent.register(token).status_code == 201
    with orchestrator.database() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM agent_tokens").scalar() == 5
    assert agent.poll().status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "lbe_" + "A" * 43, "lbe_\u2603"])
def test_an_unknown_token_is_refused(shared_orchestrator: Orchestrator, token: str) -> None:
    assert problem(FakeAgent(shared_orchestrator).register(token)) == REFUSED


def test_an_expired_token_is_refused(shared_orchestrator: Orchestrator) -> None:
    assert problem(FakeAgent(shared_orchestrator).register(shared_orchestrator.enrol(expires_s=-1))) == REFUSED


def test_a_used_token_is_refused_to_another_agent(orchestrator: Orchestrator) -> None:
    token = orchestrator.enrol()
    assert FakeAgent(orchestrator).register(token).status_code == 201
    assert problem(FakeAgent(orchestrator).register(token)) == REFUSED
    assert len(orchestrator.agents()) == 1


def test_another_machine_can_not_take_a_known_agents_id(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    token = shared_orchestrator.enrol()
    agent.register(token)
    stolen = {"fingerprint": "0" * 64}

    mismatch = (409, protocol.PROBLEM_FINGERPRINT_MISMATCH)
    assert problem(agent.register(token, **stolen)) == mismatch
    fresh = shared_orchestrator.enrol()
    assert problem(agent.register(fresh, **stolen)) == mismatch
    assert FakeAgent(shared_orchestrator).register(fresh).status_code == 201, (
        "a refused attempt does not spend the token"
    )


def test_the_used_token_does_not_change_the_agents_key(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    token = shared_orchestrator.enrol()
    agent.register(token)
    other_key = base64.b64encode(os.urandom(32)).decode()

    assert problem(agent.register(token, public_key=other_key)) == REFUSED
    assert agent.register(shared_orchestrator.enrol(), public_key=other_key).status_code == 201


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"agent_id": "x"}, "$.agent_id"),
        ({"agent_id": new_id().upper()}, "$.agent_id"),
        ({"agent_id": new_id() + "\n"}, "$.agent_id"),
        ({"fingerprint": "f" * 63}, "$.fingerprint"),
        ({"public_key": "AAAA"}, "$.public_key"),
        ({"public_key": "*" * 44}, "$.public_key"),
        ({"hostname": "h" * 256}, "$.hostname"),
        ({"hostname": None}, "$.hostname"),
        ({"executors": {"ECHO": "1"}}, "$.executors[...]"),
        ({"executors": {"ECHO": 10**30}}, "$.executors[...]"),
        ({"version": "1" * 65}, "$.version"),
    ],
)
def test_a_bad_field_is_named(shared_orchestrator: Orchestrator, changes: dict[str, Any], place: str) -> None:
    answer = FakeAgent(shared_orchestrator).register(shared_orchestrator.enrol(), **changes)
    assert problem(answer) == (400, "about:blank")
    assert f"`{place}`" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a": "\xff"}', b"[" * 100_000, b"null"])
def test_a_body_that_is_no_request_is_a_400(shared_orchestrator: Orchestrator, body: bytes) -> None:
    answer = FakeAgent(shared_orchestrator).post("/api/v1/agents/register", body, authorization=None)
    assert problem(answer) == (400, "about:blank")


def test_control_characters_in_a_host_name_do_not_reach_a_terminal(orchestrator: Orchestrator) -> None:
    FakeAgent(orchestrator, hostname="a\x1b[31mb\x00").register(orchestrator.enrol())
    assert orchestrator.agents()[0].hostname == "a?[31mb?"


def test_no_token_is_kept_or_logged(orchestrator: Orchestrator) -> None:
    agent = FakeAgent(orchestrator)
    enrolment = orchestrator.enrol()
    agent.register(enrolment)
    agent.poll()
    agent.register(enrolment)
    orchestrator.stop()
    assert agent.token is not None
    for file in orchestrator.path.iterdir():
        content = file.read_bytes()
        assert enrolment.encode() not in content, file
        assert agent.token.encode() not in content, file


def test_of_a_stranger_no_more_is_read_than_a_registration_needs(shared_orchestrator: Orchestrator) -> None:
    agent = FakeAgent(shared_orchestrator)
    largest = {f"{number:03}" + "\U0001f600" * 61: 1_000_000 for number in range(200)}
    answer = agent.register(shared_orchestrator.enrol(), executors=largest)
    assert answer.status_code == 201, answer.text

    refused = agent.post("/api/v1/agents/register", b"x" * (REGISTRATION_BYTES + 1), authorization=None)
    assert problem(refused) == (413, "about:blank")
    assert refused.json()["limit"] == REGISTRATION_BYTES
