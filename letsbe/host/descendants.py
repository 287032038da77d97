"""Whatever a started program led to: found, however it tried to get away, and ended.

A program is started as the leader of a session of its own, with a mark in its environment. What it starts inherits
both, unless it takes care not to: setsid(2) leaves the session, a cleared environment the mark, and a parent that ends
the line of descent. That last way is closed by making the agent a child subreaper (prctl(2)): an orphan becomes a child
of the agent instead of init's. So a child of the agent that is of another session, came after the program and was not
started by the agent can only be such an orphan, and what it started hangs below it.

Should the agent itself be killed, a later run finds what it left by the mark, and the kin of what is marked. (A parent
death signal would act at once, but it is tied to the thread that started the child, and setting it needs code between
fork and exec, which is not safe beside threads.)
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from letsbe.host.process_table import TableEntry, all_processes, is_marked, kin, one_process, own_children

if TYPE_CHECKING:
    from subprocess import Popen

#: What the orphans of a killed agent get between SIGTERM and SIGKILL, in seconds.
ORPHANS_GRACE_S = 2.0

#: How long processes that don't go away after SIGKILL are waited for, in seconds.
KILL_S = 2.0

_PR_SET_CHILD_SUBREAPER = 36


class Ended(Struct, frozen=True):
    """Process ids: of what was there to be ended, and of what could not be (another user's, or deep in the kernel)."""

    found: frozenset[int] = frozenset()
    survivors: frozenset[int] = frozenset()


class Descendants:
    """Everything that one started program led to: enter it before the program is started.

    An exception that leaves it ends everything, with ``kill_grace_s`` seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, mark: str, kill_grace_s: float) -> None:
        self._mark = mark
        self._kill_grace_s = kill_grace_s
        self._program: Popen[bytes] | None = None
        self._wait: Callable[[float], None] = time.sleep
        self._leader: int | None = None
        self._born = 0
        self._before: frozenset[int] = frozenset()
        self._met: dict[int, int] = {}

    def __enter__(self) -> Descendants:
        adopt_orphans()
        self._before = own_children()
        self._born = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        _current.add(self)
        return self

    def __exit__(self, exception: object, *_: object) -> None:
        try:
            if exception is not None:
                self.end(self._kill_grace_s)
        finally:
            _current.discard(self)

    def led_by(self, program: Popen[bytes], wait: Callable[[float], None]) -> None:
        """The program was started: it is the leader of its session.

        ``wait`` lets the given seconds pass, or fewer, while its output is read: it may have some last words.
        """
        self._program, self._leader, self._wait = program, program.pid, wait

    def alive(self) -> set[int]:
        """The ids of those that run now."""
        table = all_processes()
        # Asked after the table was made: what another thread starts from now on is not in the table.
        alone = len(_current) == 1
        here = os.getpid()
        below = kin(table, {pid for pid, process in table.items() if process.parent == here})
        own = {pid for pid in below if table[pid].session == self._leader or self._met.get(pid) == table[pid].started}
        own |= {pid for pid in below - own if is_marked(pid, self._mark)}
        if alone:
            own |= {pid for pid in below if table[pid].parent == here and self._is_stray(pid, table[pid])}
        own = kin(table, own)
        self._met.update((pid, table[pid].started) for pid in own)
        return {pid for pid in own if not table[pid].ended}

    def adopted(self) -> set[int]:
        """The ids of the orphans that run now, looked for where they must be: much faster than among all processes.

        Those that have ended are reaped. None are left when it is empty: it looks again as long as some have ended.
        """
        while True:
            running, reaped = self._look_at_orphans()
            if running or not reaped:
                return running

    def _look_at_orphans(self) -> tuple[set[int], bool]:
        found = {pid: one_process(pid) for pid in own_children() - self._before - {self._leader}}
        alone = len(_current) == 1
        running: set[int] = set()
        reaped = False
        for pid, process in found.items():
            if process is None or not (process.session == self._leader or (alone and self._is_stray(pid, process))):
                continue
            if not process.ended:
                self._met[pid] = process.started
                running.add(pid)
            elif _reap(pid):
                self._met.pop(pid, None)
                reaped = True
        return running, reaped

    def _is_stray(self, pid: int, child: TableEntry) -> bool:
        return child.session != os.getsid(0) and child.started >= self._born and pid not in self._before

    def end(self, grace_s: float) -> Ended:
        """SIGTERM to all that run, SIGKILL to those that still do ``grace_s`` later."""
        if not own_children():
            return Ended()  # whoever has no children has no descendants
        try:
            return _end(self.alive, self.adopted, grace_s, self._wait)
        finally:
            if self._program is not None:
                self._program.poll()
            for pid in self._met.keys() - {self._leader}:
                _reap(pid)


#: Those of the programs that this process runs now: more than one where an executor asks several at once.
_current: set[Descendants] = set()


def adopt_orphans() -> None:
    """Become the parent of what this process's descendants orphan, and one that learns how its children end."""
    import ctypes
    import threading

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited: exit codes would be lost


def kill_marked(mark: str) -> int:
    """End what a killed agent left: processes that carry a mark, or one that begins with it and a slash, and their kin.

    Returns how many there were.
    """

    def alive() -> set[int]:
        table = all_processes()
        marked = {pid for pid in table if pid != os.getpid() and is_marked(pid, mark)}
        return {pid for pid in kin(table, marked) if not table[pid].ended}

    return len(_end(alive, set, ORPHANS_GRACE_S, time.sleep).found)


def _end(
    alive: Callable[[], set[int]], adopted: Callable[[], set[int]], grace_s: float, wait: Callable[[float], None]
) -> Ended:
    asked: set[int] = set()
    until = time.monotonic() + grace_s
    try:
        while (left := alive()) and time.monotonic() < until:
            _signal(left - asked, signal.SIGTERM)
            _signal(left - asked, signal.SIGCONT)  # one that is stopped could not hear
            asked |= left
            wait(max(0.0, min(0.05, until - time.monotonic())))
    finally:  # after a second Ctrl-C as well
        killed, survivors = _kill(alive, adopted)
    return Ended(frozenset(asked | killed), frozenset(survivors))


def _kill(alive: Callable[[], set[int]], adopted: Callable[[], set[int]]) -> tuple[set[int], set[int]]:
    """Kill until none is left; returns those that were there, and those that still are after :data:`KILL_S`.

    Each is stopped first, so that none starts another while it is looked for. One that goes on from process to process,
    each the orphan of the one before, is gone before a look at all processes is over: so orphans are looked for first,
    and last: one that was on its way out when it was stopped may have left another behind since.
    """
    stopped: set[int] = set()
    until = time.monotonic() + KILL_S
    while True:
        left = adopted() - stopped or alive() or adopted()
        if not left:
            return stopped, set()
        fresh = left - stopped
        late = time.monotonic() > until
        _signal(fresh, signal.SIGSTOP)
        stopped |= fresh
        if late or not fresh:
            _signal(left, signal.SIGKILL)
            time.sleep(0.005)
        if late:
            return stopped, left


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False  # its parent still lives, or it was reaped already


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in sorted(pids):  # the older first: a parent should hear of it before it loses its child
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # it has ended, or became another user's: then it is told as a survivor
