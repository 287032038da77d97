"""Fixtures that every test may use."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import nginx
from tests.agents import Agent
from tests.orchestrator_fixture import chosen_database, database, either_database
from tests.postgres import postgres
from tests.registry import Registry

__all__ = ["chosen_database", "database", "either_database", "postgres"]

#: Files whose tests take more than half a minute together, the longest first.
_LONG = (
    "tests/test_executors/test_docker_reload",
    "tests/test_agent/test_crash",
    "tests/test_orchestrator/test_cli",
    "tests/faults/",
    "tests/test_orchestrator/test_databases",
    "tests/test_orchestrator/test_key",
    "tests/test_build/",
    "tests/test_cron",
    "tests/fuzz/",
    "tests/test_host/test_files_killed",
)

# A shell lets what it starts in the background ignore SIGINT, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_ENGINE = str(Path(__file__).resolve().parents[1] / "build" / "engine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="Where orchestrators keep their tables."
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no process of tests is left with one of them in the end."""

    def place(item: pytest.Item) -> int:
        return next((number for number, name in enumerate(_LONG) if item.nodeid.startswith(name)), len(_LONG))

    items.sort(key=place)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent of its own: a root, a state directory, a configuration file, and the ways to run it."""
    return Agent(tmp_path)


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """A Docker engine that answers, and the name of an image with busybox; stopped again if it was started here."""
    answered = subprocess.run([_ENGINE, "status"], capture_output=True, check=False).returncode == 0
    subprocess.run([_ENGINE, "start"], check=True)
    yield "letsbe-test/busybox:1"
    if not answered:
        subprocess.run([_ENGINE, "stop"], check=True)


@pytest.fixture(scope="session")
def nginx_image(engine: str) -> str:
    """The name of an image with nginx."""
    nginx.build()
    return nginx.IMAGE


@pytest.fixture(scope="session")
def registry(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of images on loopback that runs; who stops it starts it again."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    try:
        registry.start()
        yield registry
    finally:
        registry.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the fault matrix before what has failed, which belongs last.

    Here, because who only hands tests out to processes reads no conftest further down.
    """
    from tests.faults.docker.table import print_table

    print_table(terminalreporter)
    yield
