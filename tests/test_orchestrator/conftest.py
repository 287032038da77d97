"""Fixtures of the orchestrator's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator_fixture import NewDatabase, Orchestrator, orchestrator, prepared, shared_orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, registered
from tests.test_orchestrator.visitor import Visitor, logged_in

__all__ = ["agent", "home", "orchestrator", "shared_orchestrator"]


@pytest.fixture(scope="session")
def database(either_database: NewDatabase) -> NewDatabase:
    """Everything of the orchestrator works on both."""
    return either_database


@pytest.fixture
def home(tmp_path: Path, database: NewDatabase) -> Iterator[Orchestrator]:
    """An orchestrator that does not serve: for the commands, and for the store."""
    with prepared(tmp_path, database) as unserved:
        yield unserved


@pytest.fixture
def agent(shared_orchestrator: Orchestrator) -> FakeAgent:
    """An agent that has registered, and speaks by hand."""
    return registered(shared_orchestrator)


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory, chosen_database: NewDatabase) -> Iterator[Orchestrator]:
    """A serving orchestrator with an administrator, for the pages, which are mostly about what is drawn."""
    with prepared(tmp_path_factory.mktemp("paged"), chosen_database) as running:
        running.start()
        logged_in(running)
        yield running


@pytest.fixture(scope="module")
def visitor(paged: Orchestrator) -> Visitor:
    """The administrator, logged in."""
    return logged_in(paged)
