"""Fixtures of the orchestrator's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator_fixture import Orchestrator, orchestrator, shared_orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, registered

__all__ = ["agent", "home", "orchestrator", "shared_orchestrator"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Orchestrator]:
    """An orchestrator that does not serve: for the commands, and for the store."""
    unserved = Orchestrator(tmp_path / "orchestrator")
    yield unserved
    unserved.close()


@pytest.fixture
def agent(shared_orchestrator: Orchestrator) -> FakeAgent:
    """An agent that has registered, and speaks by hand."""
    return registered(shared_orchestrator)
