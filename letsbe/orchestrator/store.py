"""The database behind the orchestrator: read and write transactions on it, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from letsbe.errors import LetsbeError
from letsbe.orchestrator.engines import WRITES, make_engines
from letsbe.orchestrator.tables import SCHEMA_VERSION, schema_info


class Store:
    """Transactions on the database that ``url`` (an SQLAlchemy URL) names; connects on first use.

    Each raises ``database_unavailable`` when the database is not reachable, or busy for too long: nothing of the
    transaction was kept then, unless the connection was lost in the middle of the commit.
    """

    def __init__(self, url: str) -> None:
        self.engine, self._single = make_engines(url)

    def check(self) -> None:
        """Raise ``database_unreadable`` or ``database_version`` unless it holds this version's tables."""
        version = self.version()
        if version is None:
            raise LetsbeError(
                "database_unreadable",
                f"{self.name} holds no tables of an orchestrator",
                hint="Run `letsbe-orchestrator init` for this home, or correct `database` in its orchestrator.yml.",
            )
        if version < SCHEMA_VERSION:
            raise LetsbeError(
                "database_version",
                f"{self.name} holds tables of version {version}, and this letsbe-orchestrator needs {SCHEMA_VERSION}",
                hint="Stop every `serve`, back the database up, and run `letsbe-orchestrator migrate`.",
            )
        self.refuse_newer(version)

    def refuse_newer(self, version: int) -> None:
        """Raise ``database_version`` when the tables are of a version that this program does not know."""
        if version > SCHEMA_VERSION:
            raise LetsbeError(
                "database_version",
                f"{self.name} holds tables of version {version}, this letsbe-orchestrator knows {SCHEMA_VERSION}",
                hint="Use the letsbe-orchestrator that made them.",
            )

    def version(self) -> int | None:
        """The version of the tables; None when there are none. Raises ``database_unreadable``."""
        try:
            with self.read() as connection:
                return version_in(connection)
        except LetsbeError as error:
            raise LetsbeError(
                "database_unreadable",
                f"{self.name}: {error.message}",
                hint="Is it running, and is `database` in orchestrator.yml right?",
            ) from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.engine.url.set(query={}).render_as_string()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Statements that only read: on SQLite they never wait for a writer, and see one state of the database."""
        if self._single is not None:
            with _translated(), self._single.connect() as connection:
                yield connection
        else:
            with _translated(), self.engine.begin() as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, rolled back by an exception."""
        with _translated(), self.engine.connect() as connection:
            connection = connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def write_once(self) -> Iterator[Connection]:
        """A transaction of one statement that writes; cheaper than :meth:`write` on PostgreSQL."""
        with self.read() if self._single is not None else self.write() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        for engine in (self.engine, self._single):
            if engine is not None:
                engine.dispose()


def version_in(connection: Connection) -> int | None:
    """The version of the tables; None when there are none."""
    if not inspect(connection).has_table(schema_info.name):
        return None
    version: int | None = connection.scalar(select(schema_info.c.version))
    return version


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    # IntegrityError: two transactions made the same row, and the next try finds it made.
    except (OperationalError, PoolTimeout, IntegrityError) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unavailable(error) from error
        raise


def _unavailable(error: Exception) -> LetsbeError:
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return LetsbeError(
        "database_unavailable",
        f"the database is not reachable or busy: {lines[0] if lines else error}",
        hint="Nothing was changed; try again.",
    )
