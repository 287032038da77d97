"""Processes: started without a shell, bounded in time and output, and gone when their run is.

Every child leads a session of its own and carries :data:`MARK` in its environment, and the agent adopts what they
orphan (``PR_SET_CHILD_SUBREAPER``), so that at the end of a run everything that it started is found, whatever it did
to get away: ignored SIGTERM, called setsid, or forked twice.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from letsbe.errors import LetsbeError

if TYPE_CHECKING:
    from subprocess import Popen

#: Where programs are looked for, whatever PATH the caller has.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The environment variable that marks the processes of a run.
MARK = "LETSBE_RUN"

#: What a background process that holds the output open gets to finish after the program has ended, in seconds.
DRAIN_S = 0.5
KILL_GRACE_S = 5.0
_TICK_S = 0.2
_PR_SET_CHILD_SUBREAPER = 36


class Completed(Struct, kw_only=True):
    """How a program ended. ``rc`` is None when a signal ended it, and when it was not run."""

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
    duration_ms: int = 0
    skipped: bool = False


class Processes:
    """Starts programs. In check mode those that change something are not started."""

    def __init__(self, *, check: bool = False, mark: str = "") -> None:
        self._check = check
        self._mark = mark or f"{os.getpid()}-{time.monotonic_ns()}"
        self._count = itertools.count(1)

    def which(self, name: str) -> str | None:
        """The absolute path of a program in :data:`PATH`; None when there is none."""
        for directory in PATH.split(":"):
            path = f"{directory}/{name}"
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
        return None

    def resolve(self, program: str) -> str | None:
        """The executable that a name or an absolute path leads to, symlinks followed; None when there is none."""
        path = program if program.startswith("/") else self.which(program) if "/" not in program else None
        if path is None:
            return None
        real = os.path.realpath(path)
        return real if os.path.isfile(real) and os.access(real, os.X_OK) else None

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
    ) -> Completed:
        """Run a program (absolute path) to its end.

        At the deadline its process group gets SIGTERM, and SIGKILL ``kill_grace_s`` later; what it printed is kept,
        head and tail within ``output_bytes`` a stream. Whatever it left running is killed when it has ended. Raises
        ``program_missing`` and ``program_not_started``.
        """
        if self._check and changes:
            return Completed(argv=list(argv), skipped=True)
        began = time.monotonic()
        adopt_orphans()
        mark = f"{self._mark}/{next(self._count)}"
        child = self._start(argv, cwd, bool(stdin), {**(env or {}), MARK: mark})
        supervised = _Supervised(child, stdin, output_bytes)
        try:
            completed = supervised.wait(began + timeout_s, kill_grace_s, cancelled)
        finally:
            left = kill_marked(mark, child.pid)
            supervised.close()
        completed.argv = list(argv)
        completed.left_behind = left
        completed.duration_ms = int((time.monotonic() - began) * 1000)
        return completed

    def _start(self, argv: Sequence[str], cwd: str | None, feeds: bool, env: Mapping[str, str]) -> Popen[bytes]:
        import subprocess

        program = argv[0]
        if any("\0" in word for word in argv):
            raise LetsbeError(
                "program_not_started", f"{program}: an argument holds a NUL", hint="No program takes one."
            )
        if not program.startswith("/"):
            raise LetsbeError("program_missing", f"{program!r} is no absolute path", hint="Write /usr/bin/...")
        try:
            return subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env={**clean_environment(), **env},
                start_new_session=True,
                umask=0o022,  # the agent's own 077 is for its state
            )
        except FileNotFoundError as error:
            missing = cwd if cwd is not None and error.filename == cwd else program
            raise LetsbeError(
                "program_missing", f"{missing}: not there", hint="Install it, or mend the path."
            ) from None
        except OSError as error:
            raise LetsbeError(
                "program_not_started", f"{program}: {error.strerror}", hint="Is it executable?"
            ) from error


class _Kept:
    """The head and the tail of a stream within a limit."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        self._total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        most = self._limit - self._half
        if len(self._tail) > most + 65_536:
            del self._tail[:-most]

    def result(self) -> tuple[bytes, int]:
        """What was kept, with a line where something was cut, and how many bytes were."""
        tail = bytes(self._tail[-(self._limit - self._half) :])
        cut = self._total - len(self._head) - len(tail)
        if cut <= 0:
            return bytes(self._head) + tail, 0
        return bytes(self._head) + b"\n[%d bytes cut]\n" % cut + tail, cut


class _Supervised:
    """One child and its three streams."""

    def __init__(self, child: Popen[bytes], stdin: bytes, output_bytes: int) -> None:
        import selectors

        self._child = child
        self._stdin = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        self._kept = {"stdout": _Kept(output_bytes), "stderr": _Kept(output_bytes)}
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            assert stream is not None  # noqa: S101 - both are pipes
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            self._selector.register(child.stdin, selectors.EVENT_WRITE, "stdin")

    def wait(self, until: float, kill_grace_s: float, cancelled: Callable[[], bool] | None) -> Completed:
        """Feed and read until the child has ended, or was ended."""
        completed = Completed(argv=[])
        drained_at: float | None = None
        kill_at: float | None = None
        while self._selector.get_map() or self._child.poll() is None:
            now = time.monotonic()
            if self._child.poll() is not None:
                drained_at = drained_at or now + DRAIN_S
                if now >= drained_at:
                    break
            elif kill_at is None and (now >= until or (cancelled is not None and cancelled())):
                completed.timed_out, completed.cancelled = now >= until, now < until
                self._signal(signal.SIGTERM)
                kill_at = now + kill_grace_s
            elif kill_at is not None and now >= kill_at:
                self._signal(signal.SIGKILL)
            self._pump(max(0.0, min(_TICK_S, (kill_at or until) - now)) if self._child.poll() is None else 0.02)
        code = self._child.wait()
        completed.rc, completed.signal = (code, None) if code >= 0 else (None, signal.Signals(-code).name)
        completed.stdout, completed.stdout_cut = self._kept["stdout"].result()
        completed.stderr, completed.stderr_cut = self._kept["stderr"].result()
        return completed

    def close(self) -> None:
        """End the child if it still runs, and close the streams."""
        if self._child.poll() is None:
            self._signal(signal.SIGKILL)
            self._child.wait()
        self._selector.close()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what it did not read

    def _pump(self, seconds: float) -> None:
        if not self._selector.get_map():
            time.sleep(min(seconds, 0.02))
            return
        for key, _ in self._selector.select(seconds):
            if key.data == "stdin":
                self._feed(key.fd)
            else:
                data = os.read(key.fd, 65_536)
                if data:
                    self._kept[key.data].add(data)
                else:
                    self._selector.unregister(key.fileobj)

    def _feed(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._stdin[:65_536])
            self._stdin = self._stdin[written:]
        except BrokenPipeError:
            self._stdin = self._stdin[:0]
        if not self._stdin and self._child.stdin is not None:
            self._selector.unregister(self._child.stdin)
            self._child.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return


def clean_environment() -> dict[str, str]:
    """What every child gets: nothing of the caller's that could load code, and the library path that is its own."""
    from letsbe.frozen import child_environment

    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "TZ", "DOCKER_HOST") if name in os.environ}
    library_path = child_environment(os.environ).get("LD_LIBRARY_PATH")
    if library_path:
        kept["LD_LIBRARY_PATH"] = library_path
    return {"HOME": "/", **kept, "PATH": PATH, "LANG": "C.UTF-8"}


def adopt_orphans() -> None:
    """Become the parent of what this process's descendants orphan."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_marked(mark: str, session: int | None = None) -> int:
    """Kill every process that carries a mark, or one that begins with it and a slash, and every process of a session.

    Returns how many there were.
    """
    found: set[int] = set()
    for _ in range(20):  # one that forks while we look is found the next time
        alive = {pid for pid in _processes() if _belongs(pid, mark, session)}
        if not alive:
            break
        found |= alive
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)
        for pid in alive:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # not adopted by us
    return len(found)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _belongs(pid: int, mark: str, session: int | None) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
        if fields[0] in (b"Z", b"X"):
            return False
        if session is not None and int(fields[3]) == session:
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
        wanted = f"{MARK}={mark}".encode()
        return any(entry == wanted or entry.startswith(wanted + b"/") for entry in variables)
    except OSError:
        return False  # it has ended, or is not ours to look at
