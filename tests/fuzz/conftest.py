"""Fuzzing: a short form in the ordinary run, a long one with ``pytest tests/fuzz --examples 50000``."""

from __future__ import annotations

import pytest

#: What the ordinary run affords for all task types together: some seconds.
DEFAULT_EXAMPLES = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=DEFAULT_EXAMPLES, help="Generated inputs of each fuzz test.")


# In a run over all tests this file is found after the command line was read: then the default holds.
@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--examples", default=DEFAULT_EXAMPLES))
