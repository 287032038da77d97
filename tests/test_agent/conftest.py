"""Fixtures of the agent's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator, orchestrator

__all__ = ["enrolled", "orchestrator"]


@pytest.fixture
def enrolled(orchestrator: Orchestrator, tmp_path: Path) -> Agent:
    """An agent that has polled once, and so is registered with the orchestrator."""
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    assert agent.cli("poll").returncode == 0
    return agent


def connect(agent: Agent, orchestrator: Orchestrator, token: str | None = None, **settings: object) -> None:
    """Point an agent at an orchestrator, with a fresh enrolment token."""
    token_file = agent.base / "enrolment-token"
    token_file.write_text(orchestrator.enrol() if token is None else token)
    token_file.chmod(0o600)
    section = {
        "url": orchestrator.url,
        "ca_file": str(orchestrator.ca_file),
        "enrolment_token_file": str(token_file),
        **settings,
    }
    agent.configure(orchestrator=section)


def agent_id(agent: Agent) -> str:
    """The agent's id."""
    from letsbe.agent import identity

    me = identity.load(str(agent.state_dir))
    assert me is not None
    return me.agent_id
