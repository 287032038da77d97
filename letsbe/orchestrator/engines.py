"""How each kind of database is connected to: SQLite in a file, PostgreSQL over its socket or TCP."""

from __future__ import annotations

import select
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError

from letsbe.errors import LetsbeError

#: Execution option that marks a transaction as one that writes.
WRITES = "letsbe_writes"

#: How long a writer waits for another one, in milliseconds; then the answer is 503.
_LOCK_TIMEOUT_MS = 5_000

#: How long PostgreSQL may be silent before it counts as gone, and how long it lets one of our statements run, or wait
#: in an open transaction for a process that may be gone itself; milliseconds.
_SILENCE_MS = 10_000
_STATEMENT_TIMEOUT_MS = 60_000

#: Connections that one process keeps for transactions of its own, and as many for single statements.
POOL_SIZE = 12


class Engines(NamedTuple):
    """Where to get connections from. ``single``: each statement is a transaction, without begin and commit around it.

    They are apart because a connection costs as much to be switched over as a statement does.
    """

    transactions: Engine
    single: Engine | None


def make_engines(url: str) -> Engines:
    """The engines for an SQLAlchemy URL; they connect on first use. Raises ``invalid_config``."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return Engines(_sqlite(parsed), None)
        if parsed.drivername == "postgresql+psycopg":
            single = _postgresql(parsed, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True)
            return Engines(_postgresql(parsed), single)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise _unusable(str(error)) from error
    raise _unusable(f"{parsed.drivername} is neither sqlite nor postgresql+psycopg")


def _unusable(reason: str) -> LetsbeError:
    return LetsbeError(
        "invalid_config",
        f"the database URL can't be used: {reason}",
        hint="Write it like postgresql+psycopg://letsbe@db.example/letsbe, or sqlite:////path/to/file.db.",
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, poolclass=QueuePool, pool_size=POOL_SIZE, max_overflow=0)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own accord
    # FULL: an outcome that was answered with 200 is deleted by the agent, so it must survive a power cut here.
    for pragma in (
        f"busy_timeout={_LOCK_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns writer late fails at once when another one wrote meanwhile; IMMEDIATE waits.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL, **options: Any) -> Engine:
    # What the URL says itself wins. A server that lost its power says nothing: none of this may wait for it for ever.
    ours = {
        "application_name": "letsbe-orchestrator",
        "connect_timeout": str(_SILENCE_MS // 1000),
        "tcp_user_timeout": str(_SILENCE_MS),
        "keepalives_idle": str(_SILENCE_MS // 1000),
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "options": f"-c lock_timeout={_LOCK_TIMEOUT_MS} -c statement_timeout={_STATEMENT_TIMEOUT_MS}"
        f" -c idle_in_transaction_session_timeout={_STATEMENT_TIMEOUT_MS}",
    }
    engine = create_engine(url.set(query={**ours, **url.query}), pool_size=POOL_SIZE, max_overflow=0, **options)
    event.listen(engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Renew the pool's connections when the server has closed this one, without a round trip to it.

    Nothing is under way on a connection that was in the pool, so something to read from it is the server's good-bye.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError("the server closed the connection")
