"""The database behind the orchestrator: one engine, read and write transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, ProgrammingError

from letsbe.errors import LetsbeError
from letsbe.orchestrator.tables import SCHEMA_VERSION, metadata, schema_info

#: Execution option that marks a transaction as one that writes.
_WRITES = "letsbe_writes"

#: How long a SQLite writer waits for another one, in milliseconds.
_BUSY_TIMEOUT_MS = 5_000


class Store:
    """Transactions on the database that ``url`` (an SQLAlchemy URL) names; connects on first use."""

    def __init__(self, url: str) -> None:
        try:
            self.engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise LetsbeError(
                "invalid_config",
                f"the database URL can't be used: {error}",
                hint="Write it as SQLAlchemy does, for example sqlite:////path/to/file.db, and install its driver.",
            ) from error

    def create(self) -> None:
        """Make the tables that are missing. Raises ``database_version`` on tables of another version."""
        with self.write() as connection:
            metadata.create_all(connection)
            if connection.scalar(select(schema_info.c.version)) is None:
                connection.execute(insert(schema_info).values(version=SCHEMA_VERSION))
        self.check()

    def check(self) -> None:
        """Raise unless the database can be read and holds this version's tables."""
        try:
            with self.read() as connection:
                version = connection.scalar(select(schema_info.c.version))
        except (OperationalError, ProgrammingError) as error:
            raise LetsbeError(
                "database_unreadable",
                f"{self.engine.url.render_as_string()}: {error.orig}",
                hint="Run `letsbe-orchestrator init` for this home, or correct `database` in its orchestrator.yml.",
            ) from error
        if version != SCHEMA_VERSION:
            raise LetsbeError(
                "database_version",
                f"{self.engine.url.render_as_string()} holds tables of version {version}, not {SCHEMA_VERSION}",
                hint="Use the letsbe-orchestrator that made them.",
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: on SQLite it never waits for a writer."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back by an exception."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=30)
    engine = create_engine(parsed, poolclass=QueuePool, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own accord
    # FULL: an outcome that was answered with 200 is deleted by the agent, so it must survive a power cut here.
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns writer late fails at once when another one wrote meanwhile; IMMEDIATE waits.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
