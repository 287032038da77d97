"""Whether the audit chain is whole, and whether the journal's other tables hold what it says."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from msgspec import Struct

from letsbe.agent import audit
from letsbe.agent.audit import Link

#: The state that a run is in after an event; the others leave it as it is.
_STATES = {
    "received": "received",
    "again": "received",
    "started": "started",
    "finished": "finished",
    "owed": "finished",
    "acked": "acked",
    "parked": "parked",
}


class Verdict(Struct, frozen=True, kw_only=True):
    """What the check found. ``bad_row`` is the number of an audit row, ``bad_run`` the id of a run."""

    whole: bool
    rows: int
    head: Link
    bad_row: int | None = None
    bad_run: str | None = None
    reason: str = ""


class _Expected(Struct):
    """What the chain says of a run."""

    state: str = ""
    who: str | None = None
    payload: str | None = None
    outcome: str | None = None
    changes: dict[int, str] = {}
    undone: set[int] = set()


class _Broken(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, reason: str, *, row: int | None = None, run: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.row, self.run = reason, row, run


def check(db: sqlite3.Connection) -> Verdict:
    """Follow the chain from its anchor to its head, then compare every run; inside the caller's transaction."""
    newest = audit.head(db)
    rows = int(db.execute("SELECT count(*) FROM audit").fetchone()[0])
    try:
        _compare(db, _follow(db, newest))
    except _Broken as broken:
        return Verdict(
            whole=False, rows=rows, head=newest, bad_row=broken.row, bad_run=broken.run, reason=broken.reason
        )
    return Verdict(whole=True, rows=rows, head=newest)


def _follow(db: sqlite3.Connection, newest: Link) -> dict[str, _Expected]:
    """The chain row by row; what it says of each run."""
    runs: dict[str, _Expected] = {}
    last = audit.anchor(db)
    for row in db.execute("SELECT * FROM audit ORDER BY seq"):
        seq = last.seq + 1
        if row["seq"] != seq:
            raise _Broken(f"the chain has no row {seq}: it was removed", row=seq)
        if row["hash"] != audit.chained(last.hash, row["content"]):
            raise _Broken("it was changed, or one before it was changed or removed", row=seq, run=row["run_id"])
        content = _content(row)
        last = Link(seq, row["hash"])
        if row["event"] in ("pruned", "forgotten"):
            runs.pop(row["run_id"], None)
        else:
            _note(runs.setdefault(row["run_id"], _Expected()), content)
    if last != newest:
        raise _Broken(f"the chain ends at row {last.seq}, not at {newest.seq}: rows were removed", row=last.seq + 1)
    return runs


def _content(row: sqlite3.Row) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(row["content"])
    if (content["seq"], content["run"], content["event"]) != (row["seq"], row["run_id"], row["event"]):
        raise _Broken("its columns were changed", row=row["seq"], run=row["run_id"])
    return content


def _note(run: _Expected, content: dict[str, Any]) -> None:
    event = content["event"]
    run.state = content.get("state") or _STATES.get(event, run.state)
    run.who = content.get("who", run.who)
    run.payload = content.get("payload", run.payload)
    run.outcome = content.get("outcome", run.outcome)
    if event == "change":
        run.changes[content["number"]] = content["change"]
    elif event == "undone":
        run.undone.add(content["number"])
    elif event == "carried":
        run.changes = {int(number): found for number, found in content["changes"].items()}
        run.undone = set(content["undone"])


def _compare(db: sqlite3.Connection, expected: dict[str, _Expected]) -> None:
    for row in db.execute("SELECT * FROM run ORDER BY id"):
        run = expected.pop(row["id"], None)
        if run is None:
            raise _Broken("the chain does not know it: it was put in", run=row["id"])
        found = {
            "origin, caller or type": (run.who, audit.digest_of(row, audit.WHO)),
            "payload": (run.payload, audit.digest(row["payload"])),
            "outcome": (run.outcome, audit.digest(row["outcome"])),
            "state": (run.state, row["state"]),
        }
        for what, (told, there) in found.items():
            if told != there:
                raise _Broken(f"its {what} was changed", run=row["id"])
        _compare_changes(db, row["id"], run)
    if expected:
        raise _Broken("it was removed", run=min(expected))


def _compare_changes(db: sqlite3.Connection, run_id: str, run: _Expected) -> None:
    rows = db.execute("SELECT * FROM change WHERE run_id = ? ORDER BY seq", (run_id,)).fetchall()
    if {row["seq"]: audit.digest_of(row, audit.WHAT) for row in rows} != run.changes:
        raise _Broken("its changed files were changed", run=run_id)
    if {row["seq"] for row in rows if row["undone"]} != run.undone:
        raise _Broken("what was undone of it was changed", run=run_id)
