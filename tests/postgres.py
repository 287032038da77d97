"""A PostgreSQL of the tests' own: a cluster in a temporary directory, reached by its socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

#: The newest that Debian has installed.
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=Path())

#: Whom the server runs as when the tests run as root, which it refuses.
ACCOUNT = "postgres"

#: A process that is killed loses nothing by it; only a power cut would.
QUICK = ("fsync=off", "full_page_writes=off")


class Postgres:
    """One server. Whoever can enter its directory is its superuser, so that belongs to its account alone."""

    def __init__(self, settings: tuple[str, ...] = QUICK) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="letsbe-pg-"))  # short: a socket's path has 107 bytes at most
        self._settings = (f"unix_socket_directories={self.directory}", "listen_addresses=", "max_connections=100")
        self._settings += settings
        self._count = 0
        self._as_account: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self._as_account = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups"]
        data = str(self.directory / "data")
        self._run("initdb", "--pgdata", data, "--username=letsbe", "--auth=trust", "--encoding=UTF8", "--no-sync")

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = " ".join(f"-c {setting}" for setting in self._settings)
        self._control("start", "-l", str(self.directory / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """End the server; ``immediate`` is a crash, ``fast`` ends connections in good order."""
        self._control("stop", "-m", mode)

    def close(self) -> None:
        """End the server and remove what it kept."""
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def pid(self) -> int:
        """The pid of the server's first process."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://letsbe@/{database}?host={self.directory}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh database, which is gone afterwards."""
        self._count += 1
        name = f"test_{self._count}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser, outside of every database of a test."""
        with psycopg.connect(f"host={self.directory} user=letsbe dbname=postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "--pgdata", str(self.directory / "data"), "--wait", "--silent", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_account, str(PROGRAMS / program), *arguments],
            cwd="/",
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )


@contextmanager
def running(settings: tuple[str, ...] = QUICK) -> Iterator[Postgres]:
    """A server for the time of the block."""
    server = Postgres(settings)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that the tests of a run share, each with a database of its own."""
    with running() as server:
        yield server
