"""The journal: every change by every origin, in one SQLite file that survives kill -9 and power cuts.

A run goes ``received -> started -> finished -> acked``; each state is on disk (WAL, synchronous=FULL) before the next
step is taken. ``received`` and ``acked`` are for tasks from the orchestrator: the finished ones that are not acked are
the outbox. Each of these steps is told in the audit chain as well, in the same transaction (:mod:`letsbe.agent.audit`).
Payloads and outcomes stand here redacted; what files held before a change is in the undo directory.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from letsbe.agent import audit
from letsbe.agent.audit import Link
from letsbe.agent.journal_file import JournalFile, unusable
from letsbe.agent.journal_rows import ChangeRow, Run, run_of
from letsbe.agent.processes_alive import this_process
from letsbe.decoding import convert
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome

if TYPE_CHECKING:
    from letsbe.agent.audit_check import Verdict

KEPT_ROWS = 10_000
KEPT_S = 90 * 86_400
#: Rows of the audit chain that are kept beyond those of the oldest run that is.
KEPT_AUDIT_ROWS = 100_000


class Journal(JournalFile):
    """The journal of one state directory; made when it isn't there."""

    def receive(self, run: Run) -> None:
        """A task from the orchestrator, before it is claimed."""
        run.received_at = time.time()
        self._insert(run, "received")

    def claimed(self, run_id: str) -> None:
        """The orchestrator has given the task to this agent."""
        self._write("UPDATE run SET claimed_at = ? WHERE id = ? AND claimed_at IS NULL", time.time(), run_id)

    def start(self, run: Run) -> None:
        """A local run, before its first effect."""
        process = this_process()
        run.state, run.started_at = "started", time.time()
        run.pid, run.pid_started, run.boot_id = process.pid, process.started, process.boot_id
        self._insert(run, "started")

    def start_received(self, run_id: str, payload: str) -> None:
        """A received task, before its first effect; ``replayed_task`` when it was started before, by whomever."""
        process = this_process()
        with self._writing():
            updated = self._db.execute(
                "UPDATE run SET state = 'started', started_at = ?, payload = ?, pid = ?, pid_started = ?, boot_id = ?"
                " WHERE id = ? AND state = 'received'",
                (time.time(), payload, process.pid, process.started, process.boot_id, run_id),
            )
            if updated.rowcount:
                audit.append(self._db, run_id, "started", payload=audit.digest(payload))
        if updated.rowcount == 0:
            raise LetsbeError("replayed_task", f"task {run_id} was started before", hint="A task runs once.")

    def start_again(self, run_id: str) -> bool:
        """A crashed task waits for its next run, the crash counted with the same write; False when it was cancelled.

        What it has changed so far counts as done: whether a write was cut short has been looked at by now, and must
        not be asked again when a later run has written the file anew.
        """
        with self._writing():
            updated = self._db.execute(
                "UPDATE run SET state = 'received', reruns = reruns + 1, pid = NULL, pid_started = NULL, boot_id = NULL"
                " WHERE id = ? AND state = 'started' AND cancel = 0",
                (run_id,),
            )
            if updated.rowcount:
                self._db.execute("UPDATE change SET done = 1 WHERE run_id = ?", (run_id,))
                audit.append(self._db, run_id, "again")
        return updated.rowcount == 1

    def take_over(self, run_id: str) -> None:
        """This process goes on with a run whose own is gone; the crash is counted with the same write."""
        process = this_process()
        self._tell(
            run_id,
            "resumed",
            "UPDATE run SET reruns = reruns + 1, pid = ?, pid_started = ?, boot_id = ? WHERE id = ?",
            (process.pid, process.started, process.boot_id, run_id),
        )

    def progress(self, run_id: str, step: str, percent: int | None, message: str) -> None:
        """How far a run is."""
        self._write(
            "UPDATE run SET step = ?, percent = ?, message = ? WHERE id = ?", step, percent, message[:2000], run_id
        )

    def finish(self, run_id: str, outcome: Outcome, *, steps_from: tuple[str, ...] = ("received", "started")) -> None:
        """The outcome, before it is reported. Only the first one counts."""
        marks = ", ".join("?" * len(steps_from))
        encoded = msgspec.json.encode(outcome)
        self._tell(
            run_id,
            "finished",
            f"UPDATE run SET state = 'finished', finished_at = ?, outcome = ? WHERE id = ? AND state IN ({marks})",  # noqa: S608
            (time.time(), encoded, run_id, *steps_from),
            status=outcome.status,
            changed=outcome.changed,
            outcome=audit.digest(encoded),
        )

    def acknowledge(self, run_id: str) -> None:
        """The orchestrator has the outcome."""
        sql = "UPDATE run SET state = 'acked' WHERE id = ? AND state IN ('finished', 'parked')"
        self._tell(run_id, "acked", sql, (run_id,))

    def park(self, run_id: str, note: str) -> None:
        """The orchestrator will never take this outcome; it stays here, and ``letsbe status`` shows it."""
        sql = "UPDATE run SET state = 'parked', note = ? WHERE id = ? AND state = 'finished'"
        self._tell(run_id, "parked", sql, (note, run_id))

    def offered_again(self, run_id: str, attempt_id: str) -> bool:
        """The orchestrator offers a task that it gave to this agent before: its database was put back from a backup.

        What the task comes to is reported under the attempt that it knows now, also an outcome that it had taken or
        refused: then True. No task runs again for it, and a run that was never the orchestrator's stays as it is.
        """
        with self._writing():
            self._db.execute(
                "UPDATE run SET attempt_id = ? WHERE id = ? AND attempt_id IS NOT NULL", (attempt_id, run_id)
            )
            updated = self._db.execute(
                "UPDATE run SET state = 'finished', note = '' WHERE id = ? AND state IN ('acked', 'parked')", (run_id,)
            )
            if updated.rowcount:
                audit.append(self._db, run_id, "owed")
        return updated.rowcount == 1

    def replace_outcome(self, run_id: str, outcome: bytes) -> None:
        """The outcome cut down to what the orchestrator takes."""
        sql = "UPDATE run SET outcome = ? WHERE id = ? AND state = 'finished'"
        self._tell(run_id, "cut", sql, (outcome, run_id), outcome=audit.digest(outcome))

    def get(self, run_id: str) -> Run | None:
        """One run, by its id."""
        rows = self._rows("SELECT * FROM run WHERE id = ?", run_id)
        return run_of(rows[0]) if rows else None

    def matching(self, prefix: str) -> list[Run]:
        """The runs whose id begins with ``prefix``, at most two."""
        rows = self._rows("SELECT * FROM run WHERE substr(id, 1, ?) = ? LIMIT 2", len(prefix), prefix)
        return [run_of(row) for row in rows]

    def latest(self, limit: int) -> list[Run]:
        """The newest runs, newest first."""
        return [run_of(row) for row in self._rows("SELECT * FROM run ORDER BY id DESC LIMIT ?", limit)]

    def in_state(self, state: str, limit: int = 1000) -> list[Run]:
        """Runs in a state, oldest first."""
        rows = self._rows("SELECT * FROM run WHERE state = ? ORDER BY id LIMIT ?", state, limit)
        return [run_of(row) for row in rows]

    def unclaimed(self) -> list[Run]:
        """Tasks of the orchestrator that it has not yet said are ours, oldest first."""
        rows = self._rows(
            "SELECT * FROM run WHERE claimed_at IS NULL AND attempt_id IS NOT NULL"
            " AND state IN ('received', 'finished') ORDER BY id"
        )
        return [run_of(row) for row in rows]

    def forget(self, run_id: str) -> None:
        """A task that never became ours."""
        self._tell(run_id, "forgotten", "DELETE FROM run WHERE id = ? AND claimed_at IS NULL", (run_id,))

    def cancel(self, run_id: str) -> None:
        """Mark a running task: its process looks for the mark."""
        self._write("UPDATE run SET cancel = 1 WHERE id = ?", run_id)

    def is_cancelled(self, run_id: str) -> bool:
        """Whether a running task is marked."""
        rows = self._rows("SELECT cancel FROM run WHERE id = ?", run_id)
        return bool(rows) and bool(rows[0][0])

    def under_lease(self) -> list[Run]:
        """Tasks of the orchestrator that this agent has and has not finished, oldest first."""
        rows = self._rows(
            "SELECT * FROM run WHERE state IN ('received', 'started') AND attempt_id IS NOT NULL ORDER BY id"
        )
        return [run_of(row) for row in rows]

    def outbox(self, limit: int = 1000) -> list[Run]:
        """Finished tasks of the orchestrator whose outcome it does not have yet, oldest first."""
        rows = self._rows(
            "SELECT * FROM run WHERE state = 'finished' AND claimed_at IS NOT NULL ORDER BY id LIMIT ?", limit
        )
        return [run_of(row) for row in rows]

    def outbox_depth(self) -> int:
        """How many outcomes wait to be delivered."""
        sql = "SELECT count(*) FROM run WHERE state = 'finished' AND claimed_at IS NOT NULL"
        return int(self._rows(sql)[0][0])

    def add_change(self, change: ChangeRow) -> int:
        """A file about to be changed; returns its number within the run."""
        with self._writing():
            seq = int(
                self._db.execute(
                    "SELECT coalesce(max(seq), 0) + 1 FROM change WHERE run_id = ?", (change.run_id,)
                ).fetchone()[0]
            )
            change.seq = seq
            fields = msgspec.structs.asdict(change)
            self._db.execute(
                f"INSERT INTO change ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",  # noqa: S608
                tuple(fields.values()),
            )
            row = self._db.execute("SELECT * FROM change WHERE run_id = ? AND seq = ?", (change.run_id, seq)).fetchone()
            audit.append(self._db, change.run_id, "change", number=seq, change=audit.digest_of(row, audit.WHAT))
        return seq

    def mark_change(self, run_id: str, seq: int, *, undone: bool = False) -> None:
        """Nothing of the change is half done (or, ``undone``, it is put back)."""
        if undone:
            sql = "UPDATE change SET undone = 1 WHERE run_id = ? AND seq = ? AND undone = 0"
            self._tell(run_id, "undone", sql, (run_id, seq), number=seq)
        else:
            self._write("UPDATE change SET done = 1 WHERE run_id = ? AND seq = ?", run_id, seq)

    def changes(self, run_id: str) -> list[ChangeRow]:
        """The files that a run changed or was about to change, in order."""
        rows = self._rows("SELECT * FROM change WHERE run_id = ? ORDER BY seq", run_id)
        return [convert(dict(row), ChangeRow) for row in rows]

    def prune(self) -> list[str]:
        """Drop what is past 90 days or 10,000 rows; returns the dropped ids.

        Never what still has to be delivered, nor a task that could still be replayed.
        """
        with self._writing():
            rows = self._db.execute(
                "DELETE FROM run WHERE (state IN ('acked', 'parked') OR (state = 'finished' AND attempt_id IS NULL))"
                " AND coalesce(expires_at, 0) < ? AND (finished_at < ?"
                " OR id <= (SELECT id FROM run ORDER BY id DESC LIMIT 1 OFFSET ?)) RETURNING id",
                (time.time(), time.time() - KEPT_S, KEPT_ROWS),
            ).fetchall()
            audit.prune(self._db, [row[0] for row in rows], KEPT_AUDIT_ROWS)
        return [row[0] for row in rows]

    def head(self) -> Link:
        """The newest row of the audit chain."""
        try:
            return audit.head(self._db)
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    def verify(self) -> Verdict:
        """Whether the audit chain is whole, and the runs are as it says."""
        from letsbe.agent import audit_check

        with self._reading():
            return audit_check.check(self._db)

    def export(self) -> Iterator[tuple[Run, list[ChangeRow]]]:
        """Every run with the files that it changed, oldest first, one at a time; others may write meanwhile."""
        with self._reading():
            for row in self._db.execute("SELECT * FROM run ORDER BY id"):
                yield run_of(row), self.changes(row["id"])

    def finished_after(self, seq: int, limit: int) -> list[tuple[int, Run]]:
        """Runs that ended after a row of the audit chain, each with the number of the row that tells it."""
        rows = self._rows(
            "SELECT audit.seq AS audit_seq, run.* FROM audit JOIN run ON run.id = audit.run_id"
            " WHERE audit.event = 'finished' AND audit.seq > ? ORDER BY audit.seq LIMIT ?",
            seq,
            limit,
        )
        return [(row["audit_seq"], run_of(row)) for row in rows]

    def _insert(self, run: Run, event: str) -> None:
        fields = msgspec.structs.asdict(run)
        with self._writing():
            self._db.execute(
                f"INSERT INTO run ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",  # noqa: S608
                tuple(fields.values()),
            )
            row = self._db.execute("SELECT * FROM run WHERE id = ?", (run.id,)).fetchone()
            who = {column: getattr(run, column) for column in audit.WHO}
            digests = {"who": audit.digest_of(row, audit.WHO), "payload": audit.digest(run.payload)}
            audit.append(self._db, run.id, event, **who, **digests)

    def _tell(self, run_id: str, event: str, sql: str, parameters: tuple[Any, ...], **facts: Any) -> None:
        """A write, and the row of the audit chain that tells it; neither when nothing is as ``sql`` wants it."""
        with self._writing():
            if self._db.execute(sql, parameters).rowcount:
                audit.append(self._db, run_id, event, **facts)
