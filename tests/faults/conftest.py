"""The fault harness: a short form in the ordinary run, a long one with ``pytest tests/faults --rounds 300``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent
from tests.faults.ledger import Ledger
from tests.faults.proxy import FaultProxy
from tests.orchestrator_fixture import Orchestrator, orchestrator, shared_orchestrator
from tests.test_agent.conftest import connect

__all__ = ["orchestrator", "shared_orchestrator"]

#: What the ordinary run affords: all of it within a minute.
DEFAULT_ROUNDS = 8
DEFAULT_AT_ONCE = 16


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=DEFAULT_ROUNDS, help="Rounds of each kind of fault.")
    parser.addoption("--at-once", type=int, default=DEFAULT_AT_ONCE, help="Processes that are started at once.")
    parser.addoption("--seed", type=int, default=None, help="Repeat a run: the seed that it printed.")


# In a run over all tests this file is found after the command line was read: then the defaults hold.
@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--rounds", default=DEFAULT_ROUNDS))


@pytest.fixture
def at_once(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--at-once", default=DEFAULT_AT_ONCE))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Another one each time; pytest shows what a failing test printed."""
    given = request.config.getoption("--seed", default=None)
    chosen = time.time_ns() % 1_000_000 if given is None else int(given)
    print(f"repeat with --seed {chosen}")
    return chosen


@pytest.fixture
def ledger(orchestrator: Orchestrator, tmp_path: Path) -> Ledger:
    """An enrolled agent whose tasks count themselves."""
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    ledger = Ledger(agent, orchestrator)
    assert agent.cli("poll").returncode == 0
    return ledger


@pytest.fixture
def proxy(orchestrator: Orchestrator, seed: int) -> Iterator[FaultProxy]:
    """A proxy before the orchestrator, which does no harm until told to."""
    with FaultProxy(orchestrator.url, str(orchestrator.ca_file), seed) as running:
        yield running
