"""The audit chain: what became of each run, in rows that can't be changed, removed or put in another order unnoticed.

A row is written in the transaction of the change that it tells, and never changed. Its hash is the SHA-256 of the hash
of the row before it, a newline and its own content, as in a ledger; the content has digests of what the journal's other
tables hold of the run. The first rows go when the runs that they are about are pruned; the anchor is the hash of the
last one that went, the head that of the newest. Whoever may write the file can make a new chain: the head, told to the
orchestrator with each poll, is what he can't take back.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import msgspec
from msgspec import Struct

from letsbe.decoding import decode

_HEAD = "audit_head"
_ANCHOR = "audit_anchor"

#: Columns of a run that are written once, at its receipt or start.
WHO = ("origin", "caller", "type")
#: Columns of a change that are written once.
WHAT = ("step", "path", "before_sha256", "after_sha256", "mode", "uid", "gid")


class Link(Struct, frozen=True):
    """A place in the chain: the number of a row, and its hash."""

    seq: int = 0
    hash: str = "0" * 64


def head(db: sqlite3.Connection) -> Link:
    """The newest row."""
    return _fact(db, _HEAD)


def anchor(db: sqlite3.Connection) -> Link:
    """The row before the oldest one that is kept."""
    return _fact(db, _ANCHOR)


def append(db: sqlite3.Connection, run_id: str, event: str, **facts: Any) -> None:
    """One more row, in the transaction of what it tells."""
    before = head(db)
    seq = before.seq + 1
    content = encoded({"seq": seq, "at": time.time(), "run": run_id, "event": event, **facts})
    link = Link(seq, chained(before.hash, content))
    db.execute(
        "INSERT INTO audit (seq, run_id, event, content, hash) VALUES (?, ?, ?, ?, ?)",
        (seq, run_id, event, content, link.hash),
    )
    _remember(db, _HEAD, link)


def carry(db: sqlite3.Connection, run_id: str) -> None:
    """One row that has all of a run as it is now: for runs from before the chain, or whose first rows are to go."""
    run = db.execute("SELECT * FROM run WHERE id = ?", (run_id,)).fetchone()
    changes = db.execute("SELECT * FROM change WHERE run_id = ? ORDER BY seq", (run_id,)).fetchall()
    append(
        db,
        run_id,
        "carried",
        state=run["state"],
        who=digest_of(run, WHO),
        payload=digest(run["payload"]),
        outcome=digest(run["outcome"]),
        changes={str(change["seq"]): digest_of(change, WHAT) for change in changes},
        undone=[change["seq"] for change in changes if change["undone"]],
    )


def prune(db: sqlite3.Connection, pruned: list[str], kept: int) -> None:
    """Runs were pruned: say so, and drop the rows before all those of runs that are kept, ``kept`` rows at most."""
    for run_id in pruned:
        append(db, run_id, "pruned")
    newest = head(db).seq
    oldest = db.execute("SELECT min(seq) FROM audit WHERE run_id IN (SELECT id FROM run)").fetchone()[0]
    cut = newest if oldest is None else oldest - 1
    if newest - cut > kept:  # a run that is kept for long, such as an outcome that nobody takes, must not keep the rest
        cut = newest - kept
        sql = "SELECT DISTINCT run_id FROM audit WHERE seq <= ? AND run_id IN (SELECT id FROM run)"
        for (run_id,) in db.execute(sql, (cut,)).fetchall():
            carry(db, run_id)
    last = db.execute("SELECT seq, hash FROM audit WHERE seq = ?", (cut,)).fetchone()
    if last is not None:
        db.execute("DELETE FROM audit WHERE seq <= ?", (cut,))
        _remember(db, _ANCHOR, Link(*last))


def encoded(content: dict[str, Any]) -> str:
    """The one spelling of a row's content."""
    return msgspec.json.encode(content, order="sorted").decode()


def chained(before: str, content: str) -> str:
    """The hash of a row."""
    return _sha256(f"{before}\n{content}".encode("utf-8", "surrogatepass"))


def digest(value: str | bytes | None) -> str | None:
    """The digest of a column."""
    if value is None:
        return None
    return _sha256(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def digest_of(row: sqlite3.Row, columns: tuple[str, ...]) -> str:
    """The digest of several columns of a row."""
    return _sha256(msgspec.json.encode([row[column] for column in columns]))


def _sha256(content: bytes) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest()


def _fact(db: sqlite3.Connection, name: str) -> Link:
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return Link() if row is None else decode(row[0], Link)


def _remember(db: sqlite3.Connection, name: str, link: Link) -> None:
    value = msgspec.json.encode(link).decode()
    db.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))
