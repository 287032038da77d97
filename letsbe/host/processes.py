"""Processes: started without a shell, bounded in time and output, and gone when their run is."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from letsbe.host.descendants import Descendants
    from letsbe.host.supervision import Supervision

#: What a program gets between SIGTERM and SIGKILL, in seconds.
KILL_GRACE_S = 5.0
#: What background processes that hold the output open get to finish when the program has ended, in seconds.
DRAIN_S = 0.5
#: What background processes get between SIGTERM and SIGKILL then, in seconds.
LEFT_GRACE_S = 1.0


class Completed(Struct, kw_only=True):
    """How a program ended. ``rc`` is None when a signal ended it, and when it was not run.

    Of each stream there are the head and the tail, with ``*_cut`` bytes cut out between them. ``left_behind`` counts
    the processes that the program left running, which were ended; ``not_killed`` are those that could not be.
    """

    argv: list[str]
    rc: int | None = None
    signal: str | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_cut: int = 0
    stderr_cut: int = 0
    timed_out: bool = False
    cancelled: bool = False
    left_behind: int = 0
    not_killed: list[int] = []
    duration_ms: int = 0
    skipped: bool = False


class Processes:
    """Starts programs. In check mode those that change something are not started.

    ``mark`` names the run in its processes' environment, so that a later run can end what a killed one left.
    """

    def __init__(self, *, check: bool = False, mark: str = "") -> None:
        self._check = check
        self._mark = mark or f"{os.getpid()}-{time.monotonic_ns()}"
        self._count = itertools.count(1)

    def which(self, name: str) -> str | None:
        """The absolute path of a program in the children's PATH, never the caller's; None when there is none."""
        from letsbe.host.spawning import PATH

        for directory in PATH.split(":"):
            path = f"{directory}/{name}"
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
        return None

    def resolve(self, program: str) -> str | None:
        """The executable that a name or an absolute path leads to, symlinks followed; None when there is none."""
        if "\0" in program:
            return None
        path = program if program.startswith("/") else self.which(program) if "/" not in program else None
        if path is None:
            return None
        real = os.path.realpath(path)
        return real if os.path.isfile(real) and os.access(real, os.X_OK) else None

    def changeable_by_others(self, program: str) -> str | None:
        """The executable, or the first directory above it, that others than root and the agent's user can change.

        Groups may write to directories: /usr/local/bin is the staff group's on Debian. None when there is nothing.
        """
        for path in _with_parents(program):
            status = os.lstat(path)
            mode = status.st_mode
            shared = 0o002 if stat.S_ISDIR(mode) or status.st_gid == 0 else 0o022
            if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
                shared = 0
            if mode & shared or status.st_uid not in (0, os.geteuid()):
                return path
        return None

    def run(
        self,
        argv: Sequence[str],
        *,
        changes: bool,
        timeout_s: float,
        cwd: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        output_bytes: int = 65_536,
        kill_grace_s: float = KILL_GRACE_S,
        cancelled: Callable[[], bool] | None = None,
        descriptors: Sequence[int] = (),
        watch: Callable[[bytes], object] | None = None,
    ) -> Completed:
        """Run a program (absolute path) to its end; it finds ``descriptors`` open under the same numbers.

        After ``timeout_s`` seconds, and when ``cancelled`` (asked ten times a second) says so, it and all that it
        started get SIGTERM, and SIGKILL ``kill_grace_s`` later; what was printed is kept, head and tail within
        ``output_bytes`` a stream, and ``watch`` gets standard error as it comes. What it leaves in the background when
        it ends by itself is ended likewise, within :data:`DRAIN_S` and :data:`LEFT_GRACE_S`. So is everything when an
        exception comes, Ctrl-C and SIGTERM to the agent included. Raises ``program_missing``, ``program_not_started``.
        """
        completed = Completed(argv=list(argv), skipped=self._check and changes)
        if completed.skipped:
            return completed
        if timeout_s <= 0:
            completed.timed_out = True
            return completed
        from letsbe.host.descendants import Descendants
        from letsbe.host.process_table import MARK
        from letsbe.host.spawning import clean_environment, spawn
        from letsbe.host.supervision import Supervision

        began = time.monotonic()
        mark = f"{self._mark}/{next(self._count)}"
        variables = {**clean_environment(), **(env or {}), MARK: mark}
        with ExitStack() as streams, Descendants(mark, kill_grace_s) as descendants:
            child = spawn(argv, cwd=cwd, feeds=bool(stdin), env=variables, descriptors=descriptors)
            supervision = streams.enter_context(Supervision(child, stdin, output_bytes, watch))
            descendants.led_by(child, supervision.wait)
            how = supervision.attend(began + timeout_s, cancelled, descendants.adopted)
            completed.timed_out, completed.cancelled = how == "timed_out", how == "cancelled"
            _finish(completed, descendants, supervision, kill_grace_s)
        completed.duration_ms = int((time.monotonic() - began) * 1000)
        return completed


def _finish(completed: Completed, descendants: Descendants, supervision: Supervision, kill_grace_s: float) -> None:
    """End what still runs, and tell how it ended."""
    if completed.timed_out or completed.cancelled:
        ended = descendants.end(kill_grace_s)
        supervision.drain(DRAIN_S)
    else:
        supervision.drain(DRAIN_S)
        ended = descendants.end(LEFT_GRACE_S)
        completed.left_behind = len(ended.found)
    completed.not_killed = sorted(ended.survivors)
    completed.rc, completed.signal = supervision.exit()
    completed.stdout, completed.stdout_cut = supervision.stdout.result()
    completed.stderr, completed.stderr_cut = supervision.stderr.result()


def _with_parents(path: str) -> list[str]:
    found = [path]
    while path != "/":
        path = os.path.dirname(path)
        found.append(path)
    return found
