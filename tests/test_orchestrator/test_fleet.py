"""Many agents: finding them by label and silence, one order to all of them, and several processes that serve them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import update

from letsbe.errors import LetsbeError
from letsbe.orchestrator import submission, tasks, views
from letsbe.orchestrator.pages import rendering
from letsbe.orchestrator.tables import agents
from tests.orchestrator_fixture import Orchestrator
from tests.postgres import Postgres
from tests.test_orchestrator.fake_agent import FakeAgent, add_agent, outcome, registered


@pytest.fixture
def fleet(home: Orchestrator) -> dict[str, str]:
    """The ids of three agents by host name."""
    return {
        "a": add_agent(home, "a", site="north", role="web"),
        "b": add_agent(home, "b", site="north", role="db"),
        "c": add_agent(home, "c", site="south", role="web"),
    }


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["--all"], "abc"),
        (["--label", "site=north"], "ab"),
        (["--label", "site=north", "--label", "role=web"], "a"),
    ],
    ids=["all", "one label", "two labels"],
)
def test_each_agent_that_is_meant_gets_a_task_of_its_own(
    home: Orchestrator, fleet: dict[str, str], words: list[str], hosts: str
) -> None:
    done = home.run("submit", "ECHO", '{"message": "hello"}', *words, "--output", "json")
    assert done.returncode == 0, done.stderr
    submitted = json.loads(done.stdout)
    assert {task["agent_id"] for task in submitted} == {fleet[host] for host in hosts}
    with home.store.read() as connection:
        for task in submitted:
            shown = views.show_task(connection, task["task_id"], with_payload=True)
            assert (shown.agent_id, shown.payload) == (task["agent_id"], {"message": "hello"})


def test_the_ids_are_printed_one_a_line(home: Orchestrator, fleet: dict[str, str]) -> None:
    lines = home.run("submit", "APT_UPDATE", "{}", "--all")
    assert sorted(lines.stdout.split()) == sorted(task["task_id"] for task in json.loads(home.run("tasks").stdout))
    assert "3 of 3 agents did not name APT_UPDATE" in lines.stderr


def test_one_that_can_not_be_queued_keeps_back_all(home: Orchestrator, fleet: dict[str, str]) -> None:
    large = "x" * (submission.MAX_SUBMITTED_BYTES // 3)
    order = submission.Order(type="ECHO", payload={"m": large}, agent=None, expires_at=time.time() + 60)
    with pytest.raises(LetsbeError, match="for 3 agents comes to more") as raised:
        submission.submit_all(home.home, home.store, order)
    assert raised.value.code == "payload_too_large"
    assert json.loads(home.run("tasks").stdout) == []


@pytest.mark.parametrize(("failing", "code"), [(False, 0), (True, 1)], ids=["all succeed", "one fails"])
def test_waiting_for_many_tells_how_each_came_out(orchestrator: Orchestrator, failing: bool, code: int) -> None:
    fakes = [registered(orchestrator, f"web-{number}") for number in range(3)]

    def work(agent: FakeAgent, fails: bool) -> None:
        while not (offers := agent.offers()):
            time.sleep(0.02)
        task_id, attempt_id = offers[0]["task_id"], offers[0]["attempt_id"]
        agent.claim(task_id, attempt_id)
        error = {"code": "no_space", "message": "disk full", "hint": "", "details": {}}
        changes = {"status": "failed", "success": False, "error": error} if fails else {}
        agent.result(task_id, attempt_id, outcome(task_id, **changes))

    with ThreadPoolExecutor(3) as pool:
        for fake in fakes:
            pool.submit(work, fake, failing and fake is fakes[1])
        done = orchestrator.run("submit", "ECHO", "{}", "--all", "--wait", "30")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert [task["hostname"] for task in found] == ["web-0", "web-1", "web-2"]
    assert [task["status"] for task in found] == ["succeeded", "failed" if failing else "succeeded", "succeeded"]
    assert found[0]["outcome"]["data"] == {"message": "hello"}


def test_waiting_for_many_ends_with_124_when_some_are_not_through(home: Orchestrator, fleet: dict[str, str]) -> None:
    done = home.run("submit", "ECHO", "{}", "--all", "--wait", "0.1", "--output", "text")
    assert done.returncode == 124
    assert done.stdout.count("waiting") == 3


def test_agents_are_found_by_label_and_by_how_long_they_are_silent(home: Orchestrator, fleet: dict[str, str]) -> None:
    now = time.time()
    with home.database() as connection:
        for host, seen in (("a", now - 30), ("b", now - 3 * 3600)):
            connection.execute(update(agents).where(agents.c.hostname == host).values(last_seen_at=seen))

    def hosts(span_s: float | None = None, **labels: str) -> list[str]:
        since = None if span_s is None else now - span_s
        with home.store.read() as connection:
            found = views.list_agents(connection, labels=labels, not_seen_since=since)
        return [agent.hostname for agent in found]

    assert hosts() == ["a", "b", "c"]
    assert hosts(600) == ["b", "c"]
    assert hosts(4 * 3600) == ["c"]
    assert hosts(role="web") == ["a", "c"]
    words = ("--label", "role=web", "--not-seen", "10m")
    assert [agent["hostname"] for agent in json.loads(home.run("agents", *words).stdout)] == ["c"]
    drawn = home.run("agents", "--output", "text").stdout
    assert "3h ago" in drawn
    assert "never" in drawn
    assert "1.0.0" in drawn


def test_an_agent_that_was_seen_while_the_clock_was_ahead_is_silent_now(
    home: Orchestrator, fleet: dict[str, str]
) -> None:
    with home.database() as connection:
        for host, seen in (("a", time.time() + 365 * 86_400), ("b", time.time() + 60), ("c", time.time())):
            connection.execute(update(agents).where(agents.c.hostname == host).values(last_seen_at=seen))
    due = rendering.due_since(time.time(), 0)
    with home.store.read() as connection:
        assert [agent.hostname for agent in views.list_agents(connection, not_seen_since=due)] == ["a"]
        assert views.count_agents(connection, due) == (3, 1)
        seen = {agent.hostname: agent.last_seen_at for agent in views.list_agents(connection)}
    late = {name: rendering.is_late(moment, due, time.time()) for name, moment in seen.items()}
    assert late == {"a": True, "b": False, "c": False}


@pytest.fixture
def two(postgres: Postgres, tmp_path: Path) -> Iterator[list[Orchestrator]]:
    """Two processes that serve one PostgreSQL, from one home."""
    with postgres.database() as url:
        first = Orchestrator(tmp_path / "orchestrator", url)
        second = Orchestrator(tmp_path / "orchestrator", url)
        try:
            for each in (first, second):
                each.start()
            yield [first, second]
        finally:
            first.close()
            second.close()


def test_two_processes_offer_each_task_under_one_attempt_and_let_it_be_claimed_once(two: list[Orchestrator]) -> None:
    first = two[0]
    fakes = [registered(first, f"web-{number}") for number in range(4)]
    orders = [first.submit("ECHO", agent=fake.agent_id) for fake in fakes for _ in range(6)]
    attempts: dict[str, set[str]] = {task: set() for task in orders}
    statuses: Counter[int] = Counter()
    guard = threading.Lock()

    def work(fake: FakeAgent, server: Orchestrator) -> None:
        """One of several that take themselves for the same agent."""
        same = FakeAgent(server)
        same.agent_id, same.token = fake.agent_id, fake.token
        for _ in range(6):
            answer = same.poll(max_tasks=4)
            statuses[answer.status_code] += 1
            for offer in answer.json()["tasks"]:
                with guard:
                    attempts[offer["task_id"]].add(offer["attempt_id"])
                claimed = same.claim(offer["task_id"], offer["attempt_id"])
                done = same.result(offer["task_id"], offer["attempt_id"], outcome(offer["task_id"]))
                statuses.update((claimed.status_code, done.status_code))
                with first.store.write() as connection:  # and somebody looks at the list meanwhile
                    tasks.sweep(connection, time.time())

    with ThreadPoolExecutor(16) as pool:
        running = [pool.submit(work, fake, server) for fake in fakes for server in two for _ in range(2)]
    for ended in running:
        ended.result()
    assert {len(found) for found in attempts.values()} == {1}
    assert {first.task(task).state for task in orders} == {"finished"}
    # 410: claimed by another of the same name after the outcome was there.
    assert statuses[200] > 0
    assert set(statuses) <= {200, 410}, statuses
    for each in two:
        assert "deadlock" not in each.log()
        assert "Traceback" not in each.log()
