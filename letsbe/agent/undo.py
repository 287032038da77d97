"""Undo: what a file held before a run changed it, kept until it is old, and the putting back of it.

Snapshots are files named by their SHA-256 in ``<state_dir>/undo/<run id>/``, mode 0600 like all of the state: they hold
what the files held, secrets included, which is why they are not in the journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress

from msgspec import Struct

from letsbe.agent.durable import sync_directory, usable, write_private
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import ChangeRow
from letsbe.errors import LetsbeError
from letsbe.host.files import FileContent, Files, PendingChange
from letsbe.host.replacing import is_temporary_name

KEPT_BYTES = 512 * 1024 * 1024
KEPT_S = 30 * 86_400
#: Entries of a directory that are looked through for what a crash left.
_MOST_ENTRIES = 10_000


class Snapshots:
    """The recorder of one run: called by the host layer before each change to a file."""

    def __init__(self, state_dir: str, journal: Journal, run_id: str) -> None:
        self.directory = os.path.join(state_dir, "undo", run_id)
        self._journal = journal
        self._run_id = run_id
        #: The COMPOSITE step that changes are written down under.
        self.step = ""

    def about_to_change(self, change: PendingChange) -> int:
        """Keep what the file holds and journal the intent; durable when it returns."""
        before = change.before
        if before is not None:
            self._keep(before)
        row = ChangeRow(
            run_id=self._run_id,
            seq=0,
            step=self.step,
            path=change.path,
            before_sha256=before.sha256 if before else None,
            after_sha256=change.after_sha256,
            mode=before.stat.mode if before else None,
            uid=before.stat.uid if before else None,
            gid=before.stat.gid if before else None,
            temporary=change.temp_path,
            done=0,
            undone=0,
        )
        return self._journal.add_change(row)

    def settled(self, ticket: int) -> None:
        """The change is on disk, or not even begun; a journal that can not tell so makes it no failure."""
        with suppress(LetsbeError):
            self._journal.mark_change(self._run_id, ticket)

    def _keep(self, before: FileContent) -> None:
        path = os.path.join(self.directory, before.sha256)
        if os.path.exists(path):
            return
        write_private(path, before.content)
        with usable(self.directory):
            sync_directory(os.path.dirname(self.directory))


class Undone(Struct, kw_only=True):
    """What putting back came to."""

    restored: list[str] = []
    unchanged: list[str] = []
    problems: list[str] = []


class Diagnosis(Struct, kw_only=True):
    """What files hold after a run that did not end well, a line each; ``new``: those to be told of in any case."""

    findings: list[str] = []
    new: list[str] = []
    changed: bool = False


class Undo:
    """Puts back what runs changed."""

    def __init__(self, state_dir: str, journal: Journal, files: Files) -> None:
        self._directory = os.path.join(state_dir, "undo")
        self._journal = journal
        self._files = files

    def put_back(
        self,
        run_id: str,
        *,
        step: str | None = None,
        wanted: Callable[[str], bool] | None = None,
        force: bool = False,
        mark: bool = True,
        resumed: bool = False,
    ) -> Undone:
        """Restore the files of a run (or of one COMPOSITE step, or those that are ``wanted``) in reverse order.

        A file that somebody changed since is left alone and named as a problem, unless ``force``. ``mark`` False
        leaves the journal as it is: for check mode. ``resumed``: a crash cut an earlier putting back off, which may
        have left a temporary file, or, where it was written in place, a file that is neither old nor new.
        """
        undone = Undone()
        for change in reversed(self._journal.changes(run_id)):
            if change.undone or (step is not None and not f"{change.step}.".startswith(f"{step}.")):
                continue
            if wanted is not None and not wanted(change.path):
                continue
            try:
                if resumed:
                    self._sweep(change.path)
                restored = self._put_back(change, force or (resumed and change.is_in_place))
            except (LetsbeError, OSError) as error:
                undone.problems.append(str(error))
                continue
            if mark:
                with suppress(LetsbeError):  # the other files have to come back as well
                    self._journal.mark_change(run_id, change.seq, undone=True)
            (undone.restored if restored else undone.unchanged).append(change.path)
        return undone

    def diagnose(self, changes: Sequence[ChangeRow]) -> Diagnosis:
        """What the files of a run that did not end well hold now; removes what it left beside them.

        A file that the run changed more than once is told of once: old is what it held before the first change.
        """
        by_path: dict[str, list[ChangeRow]] = {}
        for change in changes:
            by_path.setdefault(change.path, []).append(change)
        found = Diagnosis()
        for path, of_file in by_path.items():
            try:
                for change in of_file:
                    if change.temporary is not None:
                        self._files.remove_temporary(change.temporary)
                finding, changed = self._diagnose(of_file)
            except (LetsbeError, OSError) as error:
                finding, changed = f"{path} could not be read: {error}", False
                found.new.append(finding)
            if changed:
                found.changed = True
                found.new.append(finding)
            found.findings.append(finding)
        return found

    def _diagnose(self, changes: Sequence[ChangeRow]) -> tuple[str, bool]:
        """What a file holds after a run's changes to it, and whether that is other than before, by the run."""
        first, last = changes[0], changes[-1]
        found = self._found(last.path)
        current = None if found is None else found.sha256
        written = [change.after_sha256 for change in changes]
        if current == first.before_sha256:
            if current in written and _is_changed(found, first):  # else nothing was written, and it is not the run's
                return f"{last.path} holds the old content with another mode or owner", True
            return f"{last.path} holds the old content", False
        if current == last.after_sha256:
            return f"{last.path} holds the new content", True
        if current in written:
            return f"{last.path} holds new content, but not the last that was to be written", True
        if last.is_in_place and not last.done and current not in (None, last.before_sha256):
            self._restore(last)
            finding, changed = self._diagnose(changes)
            return f"{finding}; it was half written, and was put back", changed
        return f"{last.path} was changed by somebody else since", False

    def has_changed(self, run_id: str) -> bool:
        """Whether a file, its mode or owner is other than before the run first changed it; looks only."""
        first = {change.path: change for change in reversed(self._journal.changes(run_id)) if not change.undone}
        return any(_is_changed(self._found(path), change) for path, change in first.items())

    def _sweep(self, path: str) -> None:
        directory, name = os.path.split(path)
        if not self._files.exists(directory):
            return
        for entry in self._files.list(directory, 1, _MOST_ENTRIES):
            if is_temporary_name(entry.path, of=name):
                with suppress(LetsbeError):  # the file is to come back all the same
                    self._files.remove_temporary(os.path.join(directory, entry.path))

    def _put_back(self, change: ChangeRow, force: bool) -> bool:
        found = self._found(change.path)
        current = None if found is None else found.sha256
        if current is None and change.before_sha256 is None:
            return False
        if current not in (change.before_sha256, change.after_sha256) and not force:
            raise LetsbeError(
                "changed_meanwhile",
                f"{change.path} was changed since; not put back",
                hint="Look at it, then undo with --force.",
            )
        return self._restore(change)

    def _restore(self, change: ChangeRow) -> bool:
        """Content, mode and owner as they were; False when all of it is so already."""
        if change.before_sha256 is None:
            return self._files.remove(change.path).changed
        try:
            with open(os.path.join(self._directory, change.run_id, change.before_sha256), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            raise LetsbeError(
                "snapshot_gone",
                f"the snapshot of {change.path} is no longer kept",
                hint="Snapshots are kept for 30 days, up to 512 MiB.",
            ) from None
        owner = None if change.uid is None or change.gid is None else (change.uid, change.gid)
        in_place = change.temporary is None  # what was written in place is held by its inode
        return self._files.write(change.path, content, perms=change.mode, owner=owner, in_place=in_place).changed

    def _found(self, path: str) -> FileContent | None:
        return self._files.read_or_none(path, max_bytes=1 << 30)


def _is_changed(found: FileContent | None, change: ChangeRow) -> bool:
    """Whether a file is other than before a change, in content, mode or owner."""
    if found is None:
        return change.before_sha256 is not None
    before = (change.before_sha256, change.mode, change.uid, change.gid)
    return (found.sha256, found.stat.mode, found.stat.uid, found.stat.gid) != before


def prune(state_dir: str, kept: Set[str]) -> None:
    """Drop snapshots past 30 days, and the oldest past 512 MiB in all, but none of the runs that are ``kept``."""
    directory = os.path.join(state_dir, "undo")
    try:
        runs = sorted(os.listdir(directory), reverse=True)  # UUIDv7: newest first
    except FileNotFoundError:
        return
    total = 0
    for run in runs:
        path = os.path.join(directory, run)
        with os.scandir(path) as entries:
            total += sum(entry.stat().st_size for entry in entries)
        if run not in kept and (total > KEPT_BYTES or time.time() - os.stat(path).st_mtime > KEPT_S):
            for name in os.listdir(path):
                os.unlink(os.path.join(path, name))
            os.rmdir(path)
