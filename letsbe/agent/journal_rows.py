"""The rows of the journal."""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from letsbe.agent.processes_alive import ProcessIdentity, is_alive
from letsbe.decoding import convert, decode
from letsbe.protocol import Outcome


class Run(Struct, kw_only=True):
    """A row of the journal: one run. Times are seconds since the epoch."""

    id: str
    attempt_id: str | None = None
    origin: str
    caller: str
    type: str
    payload: str
    state: str
    pid: int | None = None
    pid_started: int | None = None
    boot_id: str | None = None
    step: str = ""
    percent: int | None = None
    message: str = ""
    expires_at: float | None = None
    received_at: float | None = None
    claimed_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    reruns: int = 0
    cancel: int = 0
    outcome: bytes | None = None
    note: str = ""

    @property
    def process_is_gone(self) -> bool:
        """Whether the process that runs it has ended without a word."""
        if self.pid is None or self.pid_started is None or self.boot_id is None:
            return True
        return not is_alive(ProcessIdentity(self.pid, self.pid_started, self.boot_id))

    def decoded_outcome(self) -> Outcome | None:
        """The outcome, once there is one."""
        return None if self.outcome is None else decode(self.outcome, Outcome)


class ChangeRow(Struct, kw_only=True):
    """A row of the journal: one file that a run was about to change."""

    run_id: str
    seq: int
    step: str
    path: str
    before_sha256: str | None
    after_sha256: str | None
    mode: int | None
    uid: int | None
    gid: int | None
    temporary: str | None
    done: int
    undone: int

    @property
    def is_in_place(self) -> bool:
        """Whether the file itself was to be overwritten: the only change that a crash can leave half done.

        One that was to be removed, or to get another mode or owner alone, holds what it held or what others wrote.
        """
        before, after = self.before_sha256, self.after_sha256
        return self.temporary is None and before is not None and after is not None and before != after


def run_of(row: sqlite3.Row) -> Run:
    """The run that a row of the file stands for; it may hold more columns."""
    return convert({key: row[key] for key in Run.__struct_fields__}, Run)
