"""The file of the journal: SQLite, opened, prepared, read and written in transactions that survive a power cut."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from letsbe.agent import journal_schema
from letsbe.agent.permissions import refuse_writable_by_others
from letsbe.errors import LetsbeError

#: How long another process's write is waited for.
BUSY_S = 30.0


class JournalFile:
    """``state.db`` of one state directory, and facts that are remembered in it; made when it isn't there.

    Raises ``state_unusable``.
    """

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.path = os.path.join(state_dir, "state.db")
        try:
            os.makedirs(state_dir, mode=0o700, exist_ok=True)
            refuse_writable_by_others(state_dir, os.stat(state_dir))
            self._db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise unusable(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def fact(self, name: str) -> str | None:
        """A remembered value (breaker, last poll, ...)."""
        rows = self._rows("SELECT value FROM fact WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def remember(self, name: str, value: str | None) -> None:
        """Remember a value; None forgets it."""
        if value is None:
            self._write("DELETE FROM fact WHERE name = ?", name)
        else:
            self._write("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", name, value)

    def _write(self, sql: str, *parameters: Any) -> None:
        self._rows(sql, *parameters)

    def _rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One view of the whole file, whatever others write."""
        self._db.execute("BEGIN")
        try:
            yield
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # a commit that failed leaves it open; some errors have ended it already
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise unusable(self.path, error) from error
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if journal_schema.version_in(self._db) == journal_schema.VERSION:
            return
        self._switch_to_wal()
        with self._writing():
            journal_schema.bring_up(self._db)  # another process may have been quicker: then there is nothing to do

    def _switch_to_wal(self) -> None:
        """SQLite refuses this at once, whatever the timeout, while another process does the same."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
                time.sleep(0.01)
            else:
                return


def unusable(path: str, error: Exception) -> LetsbeError:
    """What SQLite or the system says of the file, as ``state_unusable``."""
    hint = "Run as root or as the user that letsbe was installed for, or set state_dir to a directory you may write."
    if isinstance(error, sqlite3.Error) and "unable to open" not in str(error) and "readonly" not in str(error):
        hint = "Is the disk full? `letsbe doctor` looks further."
    reason = getattr(error, "strerror", None) or str(error)
    return LetsbeError("state_unusable", f"journal {path}: {reason}", hint=hint)
