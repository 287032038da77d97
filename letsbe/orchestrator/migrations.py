"""From one version of the tables to the next, in numbered steps that never change once they were released.

A step is written out here rather than taken from ``tables``, which moves on. All steps to the newest version are one
transaction, on PostgreSQL and SQLite alike: after a crash the database is of the old version, with nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    text,
    update,
)
from sqlalchemy.types import TypeEngine

from letsbe.orchestrator.store import Store, version_in
from letsbe.orchestrator.tables import NAMING, SCHEMA_VERSION, metadata, schema_info

#: Number of the advisory lock that migrations take on PostgreSQL: the letters of "letsbe".
_LOCK = int.from_bytes(b"letsbe", "big")


class Migration(Struct, frozen=True):
    """What :func:`migrate` found and did. ``before``: the version found, None when there were no tables."""

    before: int | None
    after: int


def migrate(store: Store) -> Migration:
    """Make the tables, or bring them to this program's version; nothing to do is no error.

    Raises ``database_version`` when they are newer, ``database_unreadable``, ``database_unavailable``.
    """
    store.version()  # tells better than a transaction why a database can't be reached
    with store.write() as connection:
        if connection.dialect.name == "postgresql":  # SQLite's write transactions exclude each other anyway
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        before = version_in(connection)
        if before is None:
            metadata.create_all(connection)
            connection.execute(insert(schema_info).values(version=SCHEMA_VERSION))
        elif before < SCHEMA_VERSION:
            for step in STEPS[before - 1 :]:
                step(connection)
            connection.execute(update(schema_info).values(version=SCHEMA_VERSION))
        else:
            store.refuse_newer(before)
    return Migration(before, SCHEMA_VERSION)


def _to_2(connection: Connection) -> None:
    """Retention: finding what ended long ago, and whose turn it is to remove it."""
    connection.execute(text("CREATE INDEX ix_tasks_finished_at ON tasks (finished_at)"))
    Table(
        "chores",
        MetaData(naming_convention=NAMING),
        Column("name", String(32), primary_key=True),
        Column("due_at", Double, nullable=False),
    ).create(connection)


def _to_3(connection: Connection) -> None:
    """The chain of key sets, and how far along it each agent is."""
    connection.execute(text("ALTER TABLE agents ADD COLUMN key_set_version INTEGER"))
    Table(
        "key_sets",
        MetaData(naming_convention=NAMING),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("created_at", Double, nullable=False),
        Column("envelope", Text, nullable=False),
    ).create(connection)


def _to_4(connection: Connection) -> None:
    """What was run by hand on hosts, and the heads of their journals."""
    columns: dict[str, TypeEngine[Any]] = {
        "journal_seq": BigInteger(),
        "journal_hash": String(64),
        "journal_rewritten_at": Double(),
    }
    for name, kind in columns.items():
        spelled = kind.compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE agents ADD COLUMN {name} {spelled}"))
    there = MetaData(naming_convention=NAMING)
    Table("agents", there, Column("agent_id", String(36), primary_key=True))
    Table(
        "host_runs",
        there,
        Column("agent_id", ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
        Column("run_id", String(36), primary_key=True),
        Column("told_at", Double, nullable=False, index=True),
        Column("told", JSON, nullable=False),
    ).create(connection)


def _to_5(connection: Connection) -> None:
    """The pages: sessions, and attempts to log in."""
    later = MetaData(naming_convention=NAMING)
    Table(
        "page_sessions",
        later,
        Column("token_hash", String(64), primary_key=True),
        Column("expires_at", Double, nullable=False),
    )
    Table(
        "login_attempts",
        later,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("at", Double, nullable=False, index=True),
        Column("address", String(64), nullable=False),
    )
    later.create_all(connection)


def _to_6(connection: Connection) -> None:
    """One agent's newest tasks, and its newest runs by hand, without reading all."""
    connection.execute(text("CREATE INDEX ix_tasks_agent_id_seq ON tasks (agent_id, seq)"))
    connection.execute(text("CREATE INDEX ix_host_runs_agent_id_told_at ON host_runs (agent_id, told_at, run_id)"))


#: The first leads from version 1 to 2.
STEPS: tuple[Callable[[Connection], None], ...] = (_to_2, _to_3, _to_4, _to_5, _to_6)
