"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator, orchestrator, shared_orchestrator
from tests.test_agent.conftest import connect

__all__ = ["orchestrator", "polling", "shared_orchestrator"]


@pytest.fixture
def polling(shared_orchestrator: Orchestrator, tmp_path: Path) -> Agent:
    """An agent that has polled once, registered with an orchestrator that no test stops."""
    agent = Agent(tmp_path)
    connect(agent, shared_orchestrator)
    assert agent.cli("poll").returncode == 0
    return agent
