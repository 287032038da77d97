"""The tables of the journal, and the way from an older version of them to this one."""

from __future__ import annotations

import sqlite3

from letsbe.agent import audit

VERSION = 2

_RUNS = """
CREATE TABLE run (
    id TEXT PRIMARY KEY,              -- the task id, or one made for a local run; UUIDv7, so sorted by time
    attempt_id TEXT,                  -- set for tasks from the orchestrator
    origin TEXT NOT NULL,
    caller TEXT NOT NULL,             -- JSON: uid, sudo_user, ssh_connection
    type TEXT NOT NULL,
    payload TEXT NOT NULL,            -- JSON, redacted
    state TEXT NOT NULL CHECK (state IN ('received', 'started', 'finished', 'acked', 'parked')),
    pid INTEGER, pid_started INTEGER, boot_id TEXT,
    step TEXT NOT NULL DEFAULT '', percent INTEGER, message TEXT NOT NULL DEFAULT '',
    expires_at REAL, received_at REAL, claimed_at REAL, started_at REAL, finished_at REAL,
    reruns INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    outcome BLOB,                     -- JSON, redacted: the very bytes that are delivered
    note TEXT NOT NULL DEFAULT ''     -- why a delivery was parked
) STRICT;
CREATE INDEX run_by_state ON run (state, id);
CREATE TABLE change (
    run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    step TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL,
    before_sha256 TEXT,               -- NULL: the file was not there
    after_sha256 TEXT,                -- NULL: the file is removed
    mode INTEGER, uid INTEGER, gid INTEGER,
    temporary TEXT,                   -- what a crash may leave beside the file
    done INTEGER NOT NULL DEFAULT 0,
    undone INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, seq)
) STRICT;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

_AUDIT = """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,          -- without a gap, from the anchor on
    run_id TEXT NOT NULL,
    event TEXT NOT NULL,
    content TEXT NOT NULL,            -- JSON: seq, run and event again, the time, digests of what the other tables hold
    hash TEXT NOT NULL                -- of the hash before and of content
) STRICT;
CREATE INDEX audit_by_event ON audit (event, seq);
CREATE INDEX audit_by_run ON audit (run_id, seq);
"""


def version_in(db: sqlite3.Connection) -> int:
    """The version of the tables that are there; 0 when there are none. ``sqlite3.DatabaseError`` for a newer one."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise sqlite3.DatabaseError(f"written by a newer letsbe (schema {found}, known {VERSION})")
    return found


def bring_up(db: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version to this one; inside the caller's transaction."""
    found = version_in(db)
    if found == 0:
        _make(db, _RUNS)
    if found <= 1:
        _make(db, _AUDIT)
        for (run_id,) in db.execute("SELECT id FROM run ORDER BY id").fetchall():
            audit.carry(db, run_id)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _make(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        db.execute(statement)
