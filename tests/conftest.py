"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent of its own: a root, a state directory, a configuration file, and the ways to run it."""
    return Agent(tmp_path)
