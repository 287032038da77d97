"""Exchanges that are dropped, delayed, cut, doubled, out of order or answered by others."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from letsbe.agent.poll import Poll
from letsbe.agent.worker import Worker
from tests.agents import Agent
from tests.faults.kills import killed_poll
from tests.faults.ledger import Ledger
from tests.faults.proxy import FaultProxy
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect

#: Polls that an agent may need to register through a proxy that spoils half of what it asks.
REGISTERING_POLLS = 30


def test_proxy_that_spoils_exchanges(
    orchestrator: Orchestrator, proxy: FaultProxy, tmp_path: Path, rounds: int, seed: int
) -> None:
    chance = random.Random(seed)
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    agent.config_file.write_text(agent.config_file.read_text().replace(orchestrator.url, proxy.url))
    ledger = Ledger(agent, orchestrator)
    proxy.faulty = True
    for _ in range(REGISTERING_POLLS):
        began = time.monotonic()
        if agent.cli("poll", "--now").returncode == 0:
            break
    usual_s = 1.5 * (time.monotonic() - began)  # that one had nothing to execute
    for number in range(rounds):
        ledger.submit_some(chance)
        if chance.random() < 0.25:
            killed_poll(agent, chance, usual_s)
        else:
            done = agent.cli("poll", "--now")
            assert done.returncode in (0, 1), done.stderr.decode()
            assert b"unexpected" not in done.stderr
        if number % 20 == 19:
            proxy.faulty = False
            ledger.settle()
            ledger.check()
            proxy.faulty = True
    proxy.faulty = False
    ledger.settle()
    tally = ledger.check()
    print(f"{rounds} rounds: {dict(sorted(proxy.seen.items()))}; {dict(sorted(tally.items()))}")


@pytest.fixture
def tame(shared_orchestrator: Orchestrator) -> Iterator[FaultProxy]:
    """A proxy that does only what is planned."""
    with FaultProxy(shared_orchestrator.url, str(shared_orchestrator.ca_file), 0) as running:
        yield running


@pytest.fixture
def proxied(shared_orchestrator: Orchestrator, tame: FaultProxy, tmp_path: Path) -> Ledger:
    """An agent that is enrolled through a proxy that has done no harm yet."""
    agent = Agent(tmp_path)
    connect(agent, shared_orchestrator)
    agent.config_file.write_text(agent.config_file.read_text().replace(shared_orchestrator.url, tame.url))
    ledger = Ledger(agent, shared_orchestrator)
    assert agent.cli("poll").returncode == 0
    return ledger


@pytest.mark.parametrize(
    ("request_to", "fault", "reaches"),
    [
        ("claim", "html_404", True),
        ("claim", "500", True),
        ("claim", "dropped", True),
        ("result", "html_200", False),
        ("result", "html_404", False),
        ("result", "garbage", True),
    ],
)
def test_single_fault(proxied: Ledger, tame: FaultProxy, request_to: str, fault: str, reaches: bool) -> None:
    proxied.submit("FILE_WRITE")
    tame.planned[request_to] = fault, reaches
    assert proxied.agent.cli("poll", "--now").returncode == (1 if fault == "dropped" else 0)
    assert tame.seen[fault] == 1
    proxied.settle()
    assert proxied.check() == {"FILE_WRITE succeeded": 1}


@pytest.mark.parametrize("fault", ["500", "html_404"])
def test_a_claim_that_fails_keeps_nothing_else_waiting(proxied: Ledger, tame: FaultProxy, fault: str) -> None:
    first, second = proxied.submit("FILE_WRITE"), proxied.submit("FILE_WRITE")
    tame.planned["claim"] = fault, False
    assert proxied.agent.cli("poll", "--now").returncode == 0
    assert proxied.orchestrator.task(first).state == "offered"
    assert proxied.orchestrator.task(second).state == "finished"
    proxied.settle()
    assert proxied.check() == {"FILE_WRITE succeeded": 2}


def test_a_cancel_is_heeded_when_no_claim_comes_through(
    proxied: Ledger, tame: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = proxied.submit("FILE_WRITE")
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "work", lambda *_: None)
        Poll(proxied.agent.config).run()
    proxied.orchestrator.cancel(cancelled)
    proxied.submit("FILE_WRITE")
    tame.planned["claim"] = "429", False
    assert proxied.agent.cli("poll", "--now").returncode == 1
    assert proxied.agent.json("history", cancelled)["state"] == "finished"


def test_wish_to_wait_is_heard_from_a_claim_too(proxied: Ledger, tame: FaultProxy) -> None:
    proxied.submit("FILE_WRITE")
    tame.planned["claim"] = "429", False
    assert proxied.agent.cli("poll").returncode == 1
    asked = tame.seen.total()
    assert proxied.agent.cli("poll").returncode == 0
    assert tame.seen.total() == asked, "it asked before Retry-After was over"
    proxied.settle()
