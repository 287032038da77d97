"""The database's tables, in SQL that SQLite and PostgreSQL both take.

Instants are seconds since the epoch (double). ``tasks.seq`` gives the order of submission: task ids are sortable
too, but only as well as the clocks of the machines that made them agree.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

#: Raised by one with every change of the tables below; ``migrations`` has a step for each.
SCHEMA_VERSION = 6

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)

schema_info = Table("schema_info", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

agents = Table(
    "agents",
    metadata,
    Column("agent_id", String(36), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("hostname", String(255), nullable=False, index=True),
    Column("version", String(64), nullable=False),
    Column("executors", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("registered_at", Double, nullable=False),
    Column("last_seen_at", Double),
    Column("capabilities_digest", String(64), nullable=False, default=""),
    Column("inventory_digest", String(64), nullable=False, default=""),
    Column("outbox_depth", Integer, nullable=False, default=0),
    Column("hold", JSON(none_as_null=True)),
    Column("journal_seq", BigInteger),  # the head of its audit chain, as it said last
    Column("journal_hash", String(64)),
    Column("journal_rewritten_at", Double),  # when a head came that can't follow the one before
    Column("key_set_version", Integer),  # null: its own configuration names the keys, or it has not polled
)

#: What was run on hosts by hand or over SSH, as agents told it.
host_runs = Table(
    "host_runs",
    metadata,
    Column("agent_id", ForeignKey("agents.agent_id", ondelete="CASCADE"), primary_key=True),
    Column("run_id", String(36), primary_key=True),
    Column("told_at", Double, nullable=False, index=True),
    Column("told", JSON, nullable=False),
    Index("ix_host_runs_agent_id_told_at", "agent_id", "told_at", "run_id"),
)

#: The chain of key sets, each an envelope that a key of the set before it signed.
key_sets = Table(
    "key_sets",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", Double, nullable=False),
    Column("envelope", Text, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("used_at", Double),
    Column("used_by", String(36)),
)

agent_tokens = Table(
    "agent_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("agent_id", ForeignKey("agents.agent_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("enrolment_hash", String(64), nullable=False, index=True),
    Column("issued_at", Double, nullable=False),
    Column("confirmed_at", Double),  # the first request that came with it
)

tasks = Table(
    "tasks",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("task_id", String(36), nullable=False, unique=True),
    Column("agent_id", ForeignKey("agents.agent_id"), nullable=False),
    Column("type", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("check_only", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("requested_by", String(200), nullable=False),
    Column("attempt_id", String(36)),
    Column("lease_until", Double),
    Column("cancel_requested_at", Double),
    Column("finished_at", Double, index=True),  # of every task that has ended
    Column("status", String(16)),
    Column("progress", JSON(none_as_null=True)),
    Column("envelope_bytes", Integer, nullable=False),
    # Last, so that SQLite reads no overflow page of it for the columns before.
    Column("envelope", Text, nullable=False),
    # A poll asks by state and agent, a sweep by state alone: neither reads the finished backlog.
    Index("ix_tasks_state_agent_id_seq", "state", "agent_id", "seq"),
    # The newest of one agent, in whatever state: without it a quiet one's are looked for among all.
    Index("ix_tasks_agent_id_seq", "agent_id", "seq"),
)

results = Table(
    "results",
    metadata,
    Column("task_id", ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the very bytes that the agent sent
)

#: Sessions of the pages; the rest of one is in its cookie.
page_sessions = Table(
    "page_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False),
)

#: Attempts to log in that have not succeeded, of the last minutes.
login_attempts = Table(
    "login_attempts",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False, index=True),
    Column("address", String(64), nullable=False),
)

#: What serving processes do in turn: whoever moves ``due_at`` on does it. A chore that was never done has no row.
chores = Table(
    "chores",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("due_at", Double, nullable=False),
)
