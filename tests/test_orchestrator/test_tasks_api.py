"""A task's way over the wire: offered, claimed, held, finished; and what a repetition or a stranger gets."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import update

from letsbe import protocol
from letsbe.errors import LetsbeError
from letsbe.orchestrator.tables import tasks
from letsbe.orchestrator.tasks import OFFER_BYTES
from letsbe.orchestrator.waiting import await_outcome
from letsbe.protocol import MAX_BODY_BYTES, MAX_RESULT_BYTES, instant, new_id, pae
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, outcome, problem, registered

GONE = (410, protocol.PROBLEM_TASK_GONE)
CONFLICT = (409, protocol.PROBLEM_ATTEMPT_CONFLICT)


def submit(agent: FakeAgent, **order: Any) -> str:
    return agent.orchestrator.submit("ECHO", {"message": "hello"}, agent=agent.agent_id, **order)


def turn_back(agent: FakeAgent, task_id: str, column: str) -> None:
    """Make a moment of the task lie in the past."""
    with agent.orchestrator.database() as connection:
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values({column: time.time() - 1}))


def test_the_offer_is_the_signed_task(agent: FakeAgent) -> None:
    task_id = submit(agent, timeout_s=42, check=True)
    (offer,) = agent.offers()

    envelope = offer["envelope"]
    payload = base64.b64decode(envelope["payload"])
    key = base64.b64decode(agent.orchestrator.home.public_key())
    (signature,) = envelope["signatures"]
    Ed25519PublicKey.from_public_bytes(key).verify(
        base64.b64decode(signature["sig"]), pae(envelope["payloadType"], payload)
    )
    task = json.loads(payload)
    assert task["task_id"] == offer["task_id"] == task_id
    assert (task["agent_id"], task["type"], task["payload"]) == (agent.agent_id, "ECHO", {"message": "hello"})
    assert (task["timeout_s"], task["check"], task["requested_by"]) == (42, True, "tests")
    assert task["not_before"] is None


def test_the_task_carries_the_schema_version_that_the_agent_named(agent: FakeAgent) -> None:
    agent.orchestrator.submit("FILE_WRITE", {}, agent=agent.agent_id)
    (offer,) = agent.offers()
    assert json.loads(base64.b64decode(offer["envelope"]["payload"]))["schema_version"] == 3


def test_a_task_is_offered_under_the_same_attempt_until_it_is_claimed(agent: FakeAgent) -> None:
    task_id = submit(agent)
    first = agent.offers()
    assert first == agent.offers()
    assert agent.claim(task_id, first[0]["attempt_id"]).status_code == 200
    assert agent.offers() == []


def test_tasks_come_in_the_order_of_their_submission_and_no_more_than_asked_for(agent: FakeAgent) -> None:
    submitted = [submit(agent) for _ in range(5)]
    assert [offer["task_id"] for offer in agent.offers(max_tasks=3)] == submitted[:3]
    assert [offer["task_id"] for offer in agent.offers()] == submitted
    assert agent.offers(max_tasks=0) == []


def test_only_the_addressed_agent_is_offered_a_task(agent: FakeAgent) -> None:
    task_id = submit(agent)
    assert registered(agent.orchestrator).offers() == []
    assert [offer["task_id"] for offer in agent.offers()] == [task_id]


def test_a_task_is_not_offered_before_its_time_nor_after_it(agent: FakeAgent) -> None:
    later = submit(agent, not_before=time.time() + 100)
    over = submit(agent)
    turn_back(agent, over, "expires_at")
    assert agent.offers() == []
    assert agent.orchestrator.task(over).state == "expired"

    turn_back(agent, later, "not_before")
    assert [offer["task_id"] for offer in agent.offers()] == [later]


def test_one_answer_carries_no_more_envelopes_than_its_budget(agent: FakeAgent) -> None:
    large = {"content": "x" * (OFFER_BYTES // 3)}
    submitted = [agent.orchestrator.submit("FILE_WRITE", large, agent=agent.agent_id) for _ in range(4)]
    offered = [offer["task_id"] for offer in agent.offers()]
    assert offered == submitted[:2]
    for offer in agent.offers():
        agent.claim(offer["task_id"], offer["attempt_id"])
    assert [offer["task_id"] for offer in agent.offers()] == submitted[2:]


def test_the_same_claim_again_gets_the_same_answer(agent: FakeAgent) -> None:
    submit(agent)
    (offer,) = agent.offers()
    answers = [agent.claim(offer["task_id"], offer["attempt_id"]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() == {"lease_s": 900}
    assert agent.orchestrator.task(offer["task_id"]).state == "claimed"


def _another_attempt(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    return task_id, new_id()


def _unknown_task(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    return new_id(), attempt_id


def _cancelled(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    assert agent.orchestrator.cancel(task_id) == "cancelled"
    return task_id, attempt_id


def _expired(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    turn_back(agent, task_id, "expires_at")
    return task_id, attempt_id


def _expired_and_swept(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    turn_back(agent, task_id, "expires_at")
    agent.poll()
    return task_id, attempt_id


def _finished(agent: FakeAgent, task_id: str, attempt_id: str) -> tuple[str, str]:
    agent.claim(task_id, attempt_id)
    assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
    return task_id, attempt_id


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (_another_attempt, CONFLICT),
        (_unknown_task, (404, "about:blank")),
        (_cancelled, GONE),
        (_expired, GONE),
        (_expired_and_swept, GONE),
        (_finished, GONE),
    ],
)
def test_a_claim_that_can_not_be_granted(
    agent: FakeAgent, turn: Callable[[FakeAgent, str, str], tuple[str, str]], expected: tuple[int, str]
) -> None:
    submit(agent)
    (offer,) = agent.offers()
    assert problem(agent.claim(*turn(agent, offer["task_id"], offer["attempt_id"]))) == expected


def test_a_claim_of_a_task_that_was_never_offered_is_a_conflict(agent: FakeAgent) -> None:
    assert problem(agent.claim(submit(agent), new_id())) == CONFLICT


def test_another_agent_can_neither_claim_nor_report_a_task(agent: FakeAgent) -> None:
    submit(agent)
    (offer,) = agent.offers()
    stranger = registered(agent.orchestrator)
    attempt = offer["task_id"], offer["attempt_id"]
    assert problem(stranger.claim(*attempt)) == (404, "about:blank")
    assert problem(stranger.result(*attempt, outcome(offer["task_id"]))) == (404, "about:blank")
    assert agent.orchestrator.task(offer["task_id"]).state == "offered"


def test_the_outcome_is_kept_byte_for_byte(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    body = json.dumps(outcome(task_id), indent=3).encode() + b"\n"
    assert agent.result(task_id, attempt_id, body).status_code == 200

    kept = agent.orchestrator.task(task_id)
    assert kept.outcome is not None
    assert bytes(kept.outcome) == body
    assert (kept.state, kept.status, kept.lease_until) == ("finished", "succeeded", None)


def test_the_same_outcome_again_is_welcome_and_another_is_a_conflict(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
    assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
    answer = agent.result(task_id, attempt_id, outcome(task_id, changed=True))
    assert problem(answer) == (409, protocol.PROBLEM_RESULT_CONFLICT)
    assert agent.orchestrator.outcome(task_id) == outcome(task_id)


def test_an_outcome_under_another_attempt_is_a_conflict(agent: FakeAgent) -> None:
    task_id, _ = submit_and_take(agent)
    assert problem(agent.result(task_id, new_id(), outcome(task_id))) == CONFLICT


def test_a_task_may_be_refused_without_a_claim(agent: FakeAgent) -> None:
    submit(agent)
    (offer,) = agent.offers()
    refused = outcome(offer["task_id"], status="refused", success=False)
    assert agent.result(offer["task_id"], offer["attempt_id"], refused).status_code == 200
    assert agent.orchestrator.task(offer["task_id"]).status == "refused"
    assert agent.offers() == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"status": "fine"}, "$.status"),
        ({"success": "true"}, "$.success"),
        ({"duration_ms": "12"}, "$.duration_ms"),
        ({"duration_ms": -1}, "$.duration_ms"),
        ({"warnings": [None]}, "$.warnings[0]"),
        ({"error": {"code": "x"}}, "$.error"),
        ({"task_id": new_id()}, "$.task_id"),
    ],
)
def test_an_outcome_that_is_none_is_refused_with_its_place(
    agent: FakeAgent, changes: dict[str, Any], place: str
) -> None:
    task_id, attempt_id = submit_and_take(agent)
    answer = agent.result(task_id, attempt_id, {**outcome(task_id), **changes})
    assert problem(answer) == (400, "about:blank")
    assert f"`{place}`" in answer.json()["detail"]
    assert agent.orchestrator.task(task_id).state == "claimed"


@pytest.mark.parametrize("size", [MAX_RESULT_BYTES + 1, MAX_RESULT_BYTES * 5])
def test_a_too_large_outcome_is_refused_with_the_limit(agent: FakeAgent, size: int) -> None:
    task_id, attempt_id = submit_and_take(agent)
    frame = len(json.dumps(outcome(task_id, data={"output": ""})))
    answer = agent.result(task_id, attempt_id, outcome(task_id, data={"output": "x" * (size - frame)}))
    assert problem(answer) == (413, protocol.PROBLEM_RESULT_TOO_LARGE)
    assert answer.json()["limit"] == MAX_RESULT_BYTES

    largest = outcome(task_id, data={"output": "x" * (MAX_RESULT_BYTES - frame)})
    assert agent.result(task_id, attempt_id, largest).status_code == 200


def test_a_body_past_every_limit_is_refused(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    answer = agent.result(task_id, attempt_id, b" " * (MAX_BODY_BYTES + 1))
    assert problem(answer) == (413, protocol.PROBLEM_RESULT_TOO_LARGE)
    assert answer.json()["limit"] == MAX_RESULT_BYTES


def test_a_silent_agents_task_lapses_is_not_offered_again_and_its_late_outcome_is_taken(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    turn_back(agent, task_id, "lease_until")
    assert agent.orchestrator.task(task_id).state == "lapsed"
    assert agent.offers() == []

    assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
    assert agent.orchestrator.task(task_id).state == "finished"


def test_a_lease_that_was_given_while_the_clock_was_ahead_lapses_and_the_next_poll_renews_it(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    with agent.orchestrator.database() as connection:
        ahead = time.time() + 365 * 86_400
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(lease_until=ahead))
    assert agent.orchestrator.task(task_id).state == "lapsed"
    assert agent.poll(running=[{"task_id": task_id, "attempt_id": attempt_id}]).status_code == 200
    assert agent.orchestrator.task(task_id).state == "claimed"


@pytest.mark.parametrize("lapsed", [False, True])
def test_a_poll_that_names_the_attempt_renews_its_lease_and_keeps_its_progress(agent: FakeAgent, lapsed: bool) -> None:
    task_id, attempt_id = submit_and_take(agent)
    turn_back(agent, task_id, "lease_until")
    if lapsed:
        assert agent.orchestrator.task(task_id).state == "lapsed"
    running = {"task_id": task_id, "attempt_id": attempt_id, "step": "dump" * 99, "percent": 40, "message": "half"}
    assert agent.poll(running=[running]).status_code == 200

    task = agent.orchestrator.task(task_id)
    assert task.state == "claimed"
    assert task.lease_until is not None
    assert task.lease_until > instant(time.time() + 800)
    assert task.progress is not None
    assert (task.progress["percent"], task.progress["message"]) == (40, "half")


def test_a_poll_renews_nothing_that_is_not_its_own(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    stranger = registered(agent.orchestrator)
    turn_back(agent, task_id, "lease_until")
    stranger.poll(running=[{"task_id": task_id, "attempt_id": attempt_id}])
    agent.poll(running=[{"task_id": task_id, "attempt_id": new_id()}, {"task_id": new_id(), "attempt_id": attempt_id}])
    assert agent.orchestrator.task(task_id).state == "lapsed"


def test_a_repeated_claim_revives_a_lapsed_task(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    turn_back(agent, task_id, "lease_until")
    assert agent.orchestrator.task(task_id).state == "lapsed"
    assert agent.claim(task_id, attempt_id).status_code == 200
    assert agent.orchestrator.task(task_id).state == "claimed"


def test_a_cancel_is_delivered_at_every_poll_until_the_outcome_is_there(agent: FakeAgent) -> None:
    task_id, attempt_id = submit_and_take(agent)
    assert agent.poll().json()["cancel"] == []
    assert agent.orchestrator.cancel(task_id) == "claimed"
    for _ in range(2):
        assert agent.poll(running=[{"task_id": task_id, "attempt_id": attempt_id}]).json()["cancel"] == [task_id]

    agent.result(task_id, attempt_id, outcome(task_id, status="cancelled", success=False))
    assert agent.poll().json()["cancel"] == []
    task = agent.orchestrator.task(task_id)
    assert (task.state, task.status) == ("finished", "cancelled")


def test_a_waiting_task_is_cancelled_at_once(agent: FakeAgent) -> None:
    task_id = submit(agent)
    assert agent.orchestrator.cancel(task_id) == "cancelled"
    assert agent.offers() == []
    assert agent.poll().json()["cancel"] == []


def lapse(agent: FakeAgent, *, expired_s: float) -> tuple[str, str]:
    """A task that has lapsed, and expired so long ago; it may run for 600 s."""
    task_id, attempt_id = submit_and_take(agent)
    with agent.orchestrator.database() as connection:
        values = {"lease_until": time.time() - 1, "expires_at": time.time() - expired_s}
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(values))
    assert agent.orchestrator.task(task_id).state == "lapsed"
    return task_id, attempt_id


def test_a_lapsed_task_that_is_cancelled_ends_when_it_can_not_be_running_any_more(agent: FakeAgent) -> None:
    task_id, attempt_id = lapse(agent, expired_s=300)
    assert agent.orchestrator.cancel(task_id) == "lapsed"
    assert agent.poll().json()["cancel"] == [task_id]
    with agent.orchestrator.database() as connection:
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(expires_at=time.time() - 601))
    task = agent.orchestrator.task(task_id)
    assert task.state == "cancelled"
    assert task.finished_at is not None  # by which it is removed one day
    assert agent.poll().json()["cancel"] == []

    assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
    assert agent.orchestrator.task(task_id).state == "finished"


def test_a_lapsed_task_that_can_not_be_running_any_more_is_cancelled_at_once(agent: FakeAgent) -> None:
    task_id, _ = lapse(agent, expired_s=601)
    assert agent.orchestrator.cancel(task_id) == "cancelled"
    assert agent.orchestrator.task(task_id).finished_at is not None
    with pytest.raises(LetsbeError, match="never said what came of it"):
        await_outcome(agent.orchestrator.store, task_id, 0)


def test_what_was_done_in_spite_of_a_cancel_is_told(agent: FakeAgent) -> None:
    submit(agent)
    (offer,) = agent.offers()
    agent.orchestrator.cancel(offer["task_id"])
    assert agent.result(offer["task_id"], offer["attempt_id"], outcome(offer["task_id"])).status_code == 200
    assert agent.orchestrator.task(offer["task_id"]).status == "succeeded"


def test_the_heartbeat_is_shown(agent: FakeAgent) -> None:
    until = "2026-12-24T00:00:00Z"
    agent.poll(outbox_depth=7, hold={"reason": "disk swap", "until": until, "allow": ["ECHO"]}, version="1.2.3")
    (seen,) = [known for known in agent.orchestrator.agents() if known.agent_id == agent.agent_id]
    assert (seen.version, seen.outbox_depth) == ("1.2.3", 7)
    assert seen.hold == {"reason": "disk swap", "until": until, "allow": ["ECHO"]}
    agent.poll()
    (seen,) = [known for known in agent.orchestrator.agents() if known.agent_id == agent.agent_id]
    assert seen.hold is None


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"outbox_depth": 10**30}, "$.outbox_depth"),
        ({"max_tasks": "5"}, "$.max_tasks"),
        ({"max_tasks": 101}, "$.max_tasks"),
        ({"running": [{"task_id": "x", "attempt_id": "y"}]}, "$.running[0].task_id"),
        ({"hold": {"reason": "r"}}, "$.hold"),
    ],
)
def test_a_bad_poll_is_refused_with_its_place(agent: FakeAgent, body: dict[str, Any], place: str) -> None:
    answer = agent.poll(**body)
    assert problem(answer) == (400, "about:blank")
    assert f"`{place}`" in answer.json()["detail"]


def test_claims_and_results_sent_at_once_agree(agent: FakeAgent) -> None:
    submit(agent)
    with ThreadPoolExecutor(8) as pool:
        # On PostgreSQL a poll passes over what another one is just being offered.
        polls = [offers for offers in pool.map(lambda _: agent.offers(), range(16)) if offers]
        assert all(offers == polls[0] for offers in polls)
        (offer,) = polls[0]
        attempt = offer["task_id"], offer["attempt_id"]
        attempts = [attempt[1], new_id()] * 8
        claims = list(pool.map(lambda attempt_id: agent.claim(attempt[0], attempt_id).status_code, attempts))
        assert claims == [200, 409] * 8
        outcomes = [outcome(attempt[0], duration_ms=n) for n in range(16)]
        results = list(pool.map(lambda body: agent.result(*attempt, body).status_code, outcomes))
        assert sorted(results) == [200] + [409] * 15
    assert agent.orchestrator.outcome(attempt[0]) == outcomes[results.index(200)]


def submit_and_take(agent: FakeAgent) -> tuple[str, str]:
    submit(agent)
    return agent.take()


def test_a_path_id_that_is_none_is_a_400(agent: FakeAgent) -> None:
    answer = agent.claim("not-an-id", new_id())
    assert problem(answer) == (400, "about:blank")
    assert "`task_id` in the path" in answer.json()["detail"]


@pytest.fixture(scope="module")
def other(shared_orchestrator: Orchestrator) -> FakeAgent:
    """Another registered agent."""
    fake = registered(shared_orchestrator)
    fake.poll()
    return fake


ROUTES = [
    ("POST", "/api/v1/agents/{agent}/poll", {"version": "1"}),
    ("POST", "/api/v1/tasks/{id}/attempts/{id}/claim", b""),
    ("PUT", "/api/v1/tasks/{id}/attempts/{id}/result", outcome(None)),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=["poll", "claim", "result"])
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic bGV0c2JlOng=", "Bearer \u00ff"]
)
def test_without_a_valid_token_nothing_is_answered(
    other: FakeAgent, method: str, path: str, body: Any, authorization: str | None
) -> None:
    filled = path.format(agent=other.agent_id, id=new_id())
    answer = other.request(method, filled, body, authorization=authorization)
    assert problem(answer) == (401, "about:blank")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_is_asked_for_before_the_body_is_looked_at(other: FakeAgent) -> None:
    path = f"/api/v1/agents/{other.agent_id}/poll"
    assert problem(other.post(path, b"{", authorization="Bearer x"))[0] == 401


def test_only_an_agent_that_never_registered_is_told_to(other: FakeAgent) -> None:
    answer = other.post(f"/api/v1/agents/{new_id()}/poll", {"version": "1"}, authorization="Bearer lba_lost")
    assert problem(answer) == (401, protocol.PROBLEM_AGENT_UNKNOWN)


def test_an_agent_can_not_poll_for_another(agent: FakeAgent, other: FakeAgent) -> None:
    answer = agent.post(f"/api/v1/agents/{other.agent_id}/poll", {"version": "1"})
    assert problem(answer) == (403, "about:blank")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/agents", 404),
        ("GET", "/api/v1/agents/register", 405),
        ("DELETE", "/api/v1/agents/register", 405),
        ("POST", "/api/v1/tasks/x/attempts/y/result", 405),
        ("GET", "/api/v1/agents/%2e%2e/%2e%2e/poll", 404),
    ],
)
def test_unknown_paths_and_methods_are_problems_too(other: FakeAgent, method: str, path: str, status: int) -> None:
    answer = other.request(method, path, b"")
    assert problem(answer)[0] == status
    if status == 405:
        assert answer.headers["allow"]


def test_answers_carry_the_date_and_no_server_name(other: FakeAgent) -> None:
    headers = other.poll().headers
    assert "date" in headers
    assert "server" not in headers
