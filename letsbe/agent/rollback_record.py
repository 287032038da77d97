"""What a crash must not take from a rollback: ``<state_dir>/rollback/<run id>``, mode 0600, until the run has ended.

A line of JSON each: the task first, then what became of each step, in order. It is written whole before the first step
is put back, and grows by a line, on disk before anything else happens, with each that is. Payloads stand here as they
were sent and secrets in clear, which is why this is no part of the journal.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any, Literal

import msgspec
from msgspec import Struct

from letsbe.agent.durable import remove, sync_directory, usable, write_private
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import ErrorInfo, Outcome


class Begun(Struct, frozen=True, kw_only=True):
    """The run: its task, the locks that it held, and the secrets that it had met."""

    type: str
    payload: Any
    locks: list[str]
    secrets: list[str]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a step: it was ``refused`` with an error, ``begun``, ``ended`` with an outcome, ``undone``."""

    step: str
    what: Literal["refused", "begun", "ended", "undone"]
    outcome: Outcome | None = None
    error: ErrorInfo | None = None
    problems: list[str] = []


class RollbackRecord:
    """What became of the steps of one run, in memory, and on disk from :meth:`open` to :meth:`drop`.

    Steps are named by their path: ``outer.inner``. What the process before knew is in ``before``.
    """

    def __init__(self, state_dir: str, run_id: str, before: list[Event] | None = None, size: int | None = None) -> None:
        self._path = path_of(state_dir, run_id)
        self._events: list[Event] = list(before or ())
        #: Of the file, in bytes; None: there is none.
        self._size = size
        #: Whether it goes on with what another process began.
        self.resumed = before is not None
        self._ended = {event.step: event.outcome for event in self._events if event.what == "ended"}
        self._refused = {event.step: event.error for event in self._events if event.what == "refused"}
        self._begun = {event.step for event in self._events if event.what == "begun"}
        self._undone = [event for event in self._events if event.what == "undone"]

    @property
    def is_open(self) -> bool:
        """Whether a crash now would be one in a rollback."""
        return self._size is not None

    def open(self, begun: Begun) -> None:
        """All so far, on disk when it returns. ``state_unusable``."""
        if self._size is None:
            content = b"".join([_line(begun), *map(_line, self._events)])
            write_private(self._path, content)
            with usable(self._path):
                sync_directory(os.path.dirname(os.path.dirname(self._path)))
            self._size = len(content)

    def drop(self) -> None:
        """There is nothing to go on with, for good when it returns. ``state_unusable``."""
        if self._size is not None:
            remove(self._path)
            with usable(self._path):
                sync_directory(os.path.dirname(self._path))
            self._size = None

    def outcome(self, step: str) -> Outcome | None:
        """What a step came to; None when it did not come to its end."""
        return self._ended.get(step)

    def refusal(self, step: str) -> LetsbeError | None:
        """Why a step could not begin before the crash."""
        error = self._refused.get(step)
        return None if error is None else LetsbeError(error.code, error.message, hint=error.hint)

    def was_begun(self, step: str) -> bool:
        """Whether a step of the rollback had begun before the crash."""
        return step in self._begun

    def undone(self, step: str) -> list[str] | None:
        """What could not be put back of a step before the crash; None when it was not its turn yet.

        Each putting back is told once: a step may have had several.
        """
        found = next((event for event in self._undone if event.step == step), None)
        if found is None:
            return None
        self._undone.remove(found)
        return list(found.problems)

    def note_refused(self, step: str, error: LetsbeError) -> None:
        """A step that was to run could not begin."""
        if step not in self._ended:
            info = ErrorInfo(code=error.code, message=error.message, hint=error.hint)
            self._note(Event(step=step, what="refused", error=info))

    def note_begun(self, step: str) -> None:
        """A step of the rollback begins; ``state_unusable`` when that can't be kept."""
        self._append(Event(step=step, what="begun"))

    def note_ended(self, step: str, outcome: Outcome) -> None:
        """A step has come to its end."""
        self._ended[step] = outcome
        self._note(Event(step=step, what="ended", outcome=outcome))

    def note_undone(self, step: str, problems: list[str]) -> None:
        """A step was put back, as far as it could be."""
        self._note(Event(step=step, what="undone", problems=problems))

    def _note(self, event: Event) -> None:
        with suppress(LetsbeError):  # on a full disk as well all has to come back; after a crash it would do so twice
            self._append(event)

    def _append(self, event: Event) -> None:
        self._events.append(event)
        if self._size is None:
            return
        line = _line(event)
        with usable(self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.ftruncate(descriptor, self._size)  # a line that was cut short by a crash or a full disk
                if os.pwrite(descriptor, line, self._size) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        self._size += len(line)


def load(state_dir: str, run_id: str) -> tuple[Begun, RollbackRecord] | None:
    """What is on disk of a run; None when it was in no rollback, or what there is can't be read."""
    try:
        with open(path_of(state_dir, run_id), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    whole = content[: content.rfind(b"\n") + 1]
    try:
        first, *rest = whole.splitlines()
        begun = decode(first, Begun)
        events = [decode(line, Event) for line in rest]
    except (ValueError, msgspec.DecodeError):  # of another version of the agent
        return None
    return begun, RollbackRecord(state_dir, run_id, events, len(whole))


def path_of(state_dir: str, run_id: str) -> str:
    """The file of a run."""
    return os.path.join(state_dir, "rollback", run_id)


def sweep(state_dir: str, kept: set[str]) -> None:
    """Remove the files of all runs but those."""
    try:
        names = os.listdir(os.path.join(state_dir, "rollback"))
    except FileNotFoundError:
        return
    for name in set(names) - kept:
        remove(path_of(state_dir, name))


def _line(value: Begun | Event) -> bytes:
    return msgspec.json.encode(value) + b"\n"
