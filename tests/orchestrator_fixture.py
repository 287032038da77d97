"""A real orchestrator for tests: a home of its own, ``serve`` as a process behind TLS on a free loopback port.

Use it in a conftest by ``from tests.orchestrator_fixture import orchestrator``, or ``shared_orchestrator`` where a test
neither stops it nor counts what is in it: that saves a second a test.

Its database is the one that ``pytest --database`` names, SQLite for short, unless a conftest has a ``database`` of its
own: ``either_database`` runs every test on both.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from letsbe.orchestrator import auth, submission, tasks, views
from letsbe.orchestrator.bootstrap import initialise
from letsbe.orchestrator.home import Home, open_home, settings_file
from letsbe.orchestrator.store import Store
from tests import forked
from tests.ports import free_port
from tests.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent


class Orchestrator:
    """One orchestrator; the port of its serving process stays over restarts."""

    def __init__(self, path: Path, database: str | None = None, **settings: object) -> None:
        self.path = path
        self._database = database
        self.home: Home = initialise(str(path), port=0, database=database).home
        if settings:
            self.configure(**settings)
        self.store = Store(self.home.database_url)
        self.ca_file = self.home.ca
        self.log_file = path / "serve.log"
        self._url = ""
        self._process: forked.Process | None = None

    @property
    def url(self) -> str:
        """Where it serves, or served last. Fails with its log when ``serve`` has ended by itself."""
        ended = self._process.poll() if self._process is not None else None
        assert ended is None, f"serve has ended with {ended}: {self.log()}"
        return self._url

    @property
    def pid(self) -> int:
        """The pid of ``serve``."""
        assert self._process is not None
        return self._process.pid

    def configure(self, **settings: object) -> None:
        """Write other settings; a running ``serve`` sees them after a restart."""
        document = {"database": self._database, **settings}
        Path(settings_file(str(self.path))).write_bytes(msgspec.json.encode(document))  # JSON is YAML
        self.home = open_home(str(self.path))

    def start(self, *arguments: str) -> None:
        """Start ``serve``, on the port it had before if there was one, and wait until it takes connections."""
        url_file = self.path / "url"
        url_file.unlink(missing_ok=True)
        port = self._url.rpartition(":")[2] or str(free_port())
        command = ["serve", "--home", str(self.path), "--port", port, "--url-file", str(url_file), *arguments]
        with self.log_file.open("ab") as log, open(os.devnull, "rb") as nothing:
            self._process = forked.start(
                "letsbe.orchestrator", command, streams=(nothing, log, log), env=dict(os.environ), cwd=str(ROOT)
            )
        deadline = time.monotonic() + 20
        while not url_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"serve did not start: {self.log()}")
            time.sleep(0.01)
        self._url = url_file.read_text().strip()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End ``serve`` by a signal; its return code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def close(self) -> None:
        """End what still runs."""
        if self._process is not None:
            self.stop()
        self.store.close()

    def log(self) -> str:
        """What ``serve`` has printed and logged."""
        return self.log_file.read_text()

    def enrol(self, *, expires_s: int = 3600, labels: dict[str, str] | None = None) -> str:
        """A fresh enrolment token."""
        with self.store.write() as connection:
            return auth.new_enrolment(connection, labels or {}, time.time(), expires_s)

    def submit(
        self,
        task_type: str,
        payload: dict[str, Any] | None = None,
        *,
        agent: str,
        expires_s: float = 3600,
        not_before: float | None = None,
        timeout_s: int = 600,
        check: bool = False,
    ) -> str:
        """Sign and queue a task for an agent (id or host name); its id."""
        order = submission.Order(
            type=task_type,
            payload=payload or {},
            agent=agent,
            expires_at=time.time() + expires_s,
            not_before=not_before,
            timeout_s=timeout_s,
            check=check,
            requested_by="tests",
        )
        return submission.submit(self.home, self.store, order).task.task_id

    def cancel(self, task_id: str) -> str:
        """Cancel a task, or ask for it; the state it is in then."""
        with self.store.write() as connection:
            return tasks.cancel(connection, task_id, time.time())

    def task(self, task_id: str) -> views.TaskDetail:
        """A task as ``show`` has it: ``state``, ``status``, ``progress``, ``outcome`` (raw JSON)."""
        with self.store.write() as connection:
            tasks.sweep(connection, time.time())
            return views.show_task(connection, task_id)

    def outcome(self, task_id: str, *, within_s: float = 0) -> dict[str, Any] | None:
        """The outcome of a task, waited for; None when there is none in time."""
        deadline = time.monotonic() + within_s
        while True:
            raw = self.task(task_id).outcome
            if raw is not None:
                outcome: dict[str, Any] = msgspec.json.decode(raw)
                return outcome
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)

    def agents(self) -> list[views.AgentView]:
        """The agents."""
        with self.store.read() as connection:
            return views.list_agents(connection)

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A write transaction, to put something where no command puts it."""
        with self.store.write() as connection:
            yield connection

    def run(
        self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of ``letsbe-orchestrator`` on this home, as a person would."""
        return run(*arguments, stdin=stdin, **{"LETSBE_ORCHESTRATOR_HOME": str(self.path), **(env or {})})


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ``letsbe-orchestrator``."""
    env = {**os.environ, **environment}
    done = forked.run("letsbe.orchestrator", arguments, stdin=stdin.encode(), env=env, cwd=str(ROOT), timeout_s=60)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


#: Gives the URL of a fresh database for the time of a block; None is SQLite in the home.
NewDatabase = Callable[[], AbstractContextManager[str | None]]


@pytest.fixture(scope="session")
def chosen_database(request: pytest.FixtureRequest) -> NewDatabase:
    """What ``--database`` names: SQLite, or PostgreSQL."""
    if request.config.getoption("--database") == "sqlite":
        return nullcontext
    server: Postgres = request.getfixturevalue("postgres")
    return server.database


@pytest.fixture(scope="session")
def database(chosen_database: NewDatabase) -> NewDatabase:
    """Where a test's orchestrator keeps its tables."""
    return chosen_database


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def either_database(request: pytest.FixtureRequest) -> NewDatabase:
    """SQLite, and in another run of the same test PostgreSQL."""
    if request.param == "sqlite":
        return nullcontext
    server: Postgres = request.getfixturevalue("postgres")
    return server.database


@contextmanager
def prepared(path: Path, database: NewDatabase) -> Iterator[Orchestrator]:
    """An orchestrator that does not serve yet, for the time of the block."""
    with database() as url:
        unserved = Orchestrator(path / "orchestrator", url)
        try:
            yield unserved
        finally:
            unserved.close()


@pytest.fixture(scope="session")
def shared_orchestrator(tmp_path_factory: pytest.TempPathFactory, database: NewDatabase) -> Iterator[Orchestrator]:
    """A serving orchestrator that the tests of a run share, each with agents of its own."""
    with prepared(tmp_path_factory.mktemp("shared"), database) as running:
        running.start()
        yield running


@pytest.fixture
def orchestrator(tmp_path: Path, database: NewDatabase) -> Iterator[Orchestrator]:
    """A serving orchestrator, stopped at the end of the test."""
    with prepared(tmp_path, database) as running:
        running.start()
        yield running
