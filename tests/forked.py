"""``letsbe`` and ``letsbe-orchestrator`` as processes of their own that need not start Python and import everything.

Each run is forked from a process that has done so once. What a test does not want shared with other runs (variables
that Python or the linker look at when they start) makes the run start anew.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from threading import Lock
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parents[1]

#: What each program may import beside its own modules.
_LATER = {
    "letsbe": ("requests", "rich.console", "rich.table", "rich.syntax", "sqlite3", "yaml", "cryptography.x509"),
    "letsbe.orchestrator": ("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "psycopg", "yaml"),
}
_MESSAGE_BYTES = 1 << 20
#: Variables by which a start differs begin so.
_OF_A_START = ("PYTHON", "LD_")


class Process(Protocol):
    """What a started program is to a test: part of ``subprocess.Popen``."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, waited for. Raises ``subprocess.TimeoutExpired``."""

    def send_signal(self, number: int) -> None:
        """Signal it, if it still runs."""

    def kill(self) -> None:
        """SIGKILL it, if it still runs."""


def run(
    program: str, arguments: Sequence[str], *, stdin: bytes, env: dict[str, str], cwd: str, timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a module (``letsbe``, ``letsbe.orchestrator``) like ``python -m`` to its end, and keep what it prints."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = start(program, arguments, streams=(given, out, err), env=env, cwd=cwd)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([program, *arguments], code, out.read(), err.read())


def start(
    program: str,
    arguments: Sequence[str],
    *,
    streams: tuple[IO[bytes], ...],
    env: dict[str, str],
    cwd: str,
    stopped: bool = False,
) -> Process:
    """Start a module like ``python -m``, with three files as its standard streams.

    One that is ``stopped`` has everything imported and waits for SIGCONT.
    """
    if stopped or _of_a_start(env) == _of_a_start(os.environ):
        return _parent(program).fork(arguments, streams, env, cwd, stopped)
    given, out, err = streams
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.Popen(command, stdin=given, stdout=out, stderr=err, env=env, cwd=cwd)


def _of_a_start(env: Any) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_OF_A_START)}


@cache
def _parent(program: str) -> _Parent:
    return _Parent(program)


class _Parent:
    """The process that runs are forked from; it ends when this one does."""

    def __init__(self, program: str) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MESSAGE_BYTES)
        with theirs:
            command = [sys.executable, "-m", "tests.forked", program, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL)
        self._guard = Lock()

    def fork(
        self, arguments: Sequence[str], streams: tuple[IO[bytes], ...], env: dict[str, str], cwd: str, stopped: bool
    ) -> _Forked:
        """A new run."""
        told, tells = socket.socketpair()
        with tells, self._guard:
            message = json.dumps([list(arguments), env, cwd, stopped]).encode()
            socket.send_fds(self._channel, [message], [*(stream.fileno() for stream in streams), tells.fileno()])
        return _Forked(told.makefile("rb"), told)


class _Forked:
    """A forked run: its parent tells its pid, and its exit code in the end."""

    def __init__(self, told: IO[bytes], channel: socket.socket) -> None:
        self._told, self._channel = told, channel
        self.pid = int(told.readline())
        self._code: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            if not select.select([self._channel], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self._code = int(self._told.readline())
            self._told.close()
            self._channel.close()
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _fork_on_demand(channel: socket.socket) -> tuple[list[str], dict[str, str], str, bool]:
    """Fork for every message; returns in each child, with its standard streams in place."""
    waited: dict[int, tuple[int, socket.socket]] = {}
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is channel:
                message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 4)
                if not message:
                    os._exit(0)
                if not (pid := os.fork()):
                    for number, descriptor in enumerate(descriptors[:3]):
                        os.dup2(descriptor, number)
                    selector.close()
                    os.closerange(3, 256)
                    return tuple(json.loads(message))  # type: ignore[return-value]
                for descriptor in descriptors[:3]:
                    os.close(descriptor)
                watched, asker = os.pidfd_open(pid), socket.socket(fileno=descriptors[3])
                asker.sendall(b"%d\n" % pid)
                waited[watched] = pid, asker
                selector.register(watched, selectors.EVENT_READ)
                continue
            selector.unregister(key.fd)
            os.close(key.fd)
            pid, asker = waited.pop(key.fd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with asker, contextlib.suppress(BrokenPipeError):
                asker.sendall(b"%d\n" % code)


def _preload(program: str) -> Any:
    """Import what a run may need; the program's ``main``."""
    package = import_module(program)
    for module in walk_packages(package.__path__, f"{program}."):
        inner = module.name.removeprefix(program)
        if not inner.endswith("__main__") and not inner.startswith((".orchestrator", ".frozen")):
            import_module(module.name)
    for name in _LATER[program]:
        import_module(name)
    return import_module({"letsbe": "letsbe.cli.main"}.get(program, f"{program}.cli")).main


def _main() -> None:
    program, descriptor = sys.argv[1:]
    main = _preload(program)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    sys.argv[1:], env, directory, stopped = _fork_on_demand(socket.socket(fileno=int(descriptor)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(directory)
    sys.argv[0] = f"{import_module(program).__path__[0]}/__main__.py"
    if stopped:
        os.kill(os.getpid(), signal.SIGSTOP)
    main()


if __name__ == "__main__":
    _main()
