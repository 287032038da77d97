"""One program while it runs: fed, read, and seen to its end."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from letsbe.host.kept_output import KeptOutput

if TYPE_CHECKING:
    from subprocess import Popen

#: How often a caller's ``cancelled`` is asked, and a kernel without pidfd_open(2) whether the program has ended.
_TICK_S = 0.1
#: How often the caller may look after what the program has left to it.
_TEND_S = 1.0
_CHUNK = 1 << 18


class Supervision:
    """A child process, its three streams, and what is kept of its output."""

    def __init__(
        self, child: Popen[bytes], stdin: bytes, output_bytes: int, watch: Callable[[bytes], object] | None = None
    ) -> None:
        self._child = child
        self._stdin = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        self.stdout = KeptOutput(output_bytes)
        self.stderr = KeptOutput(output_bytes, watch)
        self._streams = 0
        self._open(child.stdout, selectors.EVENT_READ, self.stdout)
        self._open(child.stderr, selectors.EVENT_READ, self.stderr)
        self._open(child.stdin, selectors.EVENT_WRITE, None)
        self._pidfd = _pidfd(child.pid)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, self)

    def attend(
        self, until: float, cancelled: Callable[[], bool] | None, tend: Callable[[], object]
    ) -> Literal["ended", "timed_out", "cancelled"]:
        """Feed and read until the program has ended, the moment ``until`` has come, or ``cancelled`` says so.

        ``tend`` is called once a second.
        """
        tick = _TICK_S if cancelled is not None or self._pidfd is None else _TEND_S
        tended = time.monotonic()
        while self._child.poll() is None:
            now = time.monotonic()
            if now >= until:
                return "timed_out"
            if cancelled is not None and cancelled():
                return "cancelled"
            if now - tended >= _TEND_S:
                tend()
                tended = now
            self._pump(min(until - now, tick))
        return "ended"

    def drain(self, seconds: float) -> None:
        """Read on until the streams are closed, or the seconds are over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._forget_pidfd()
            if not self._streams:
                return
            self._pump(left)

    def wait(self, seconds: float) -> None:
        """Let time pass while reading on."""
        until = time.monotonic() + seconds
        self.drain(seconds)
        self._child.poll()
        time.sleep(max(0.0, until - time.monotonic()))

    def exit(self) -> tuple[int | None, str | None]:
        """Exit code, or the name of the signal that ended the program; neither while it still runs."""
        code = self._child.poll()
        if code is None or code >= 0:
            return code, None
        try:
            return None, signal.Signals(-code).name
        except ValueError:
            return None, f"SIGRTMIN+{-code - signal.SIGRTMIN}"

    def __enter__(self) -> Supervision:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_pidfd()
        self._selector.close()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    def _open(self, stream: Any, event: int, kept: KeptOutput | None) -> None:
        if stream is None:
            return
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, event, kept)
        self._streams += 1

    def _close(self, stream: Any) -> None:
        self._selector.unregister(stream)
        stream.close()
        self._streams -= 1

    def _pump(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is self:
                continue  # the program has ended: the caller looks
            if key.data is None:
                self._feed(key.fileobj)
            elif data := os.read(key.fd, _CHUNK):
                key.data.add(data)
            else:
                self._close(key.fileobj)

    def _feed(self, stream: Any) -> None:
        try:
            self._stdin = self._stdin[os.write(stream.fileno(), self._stdin[:_CHUNK]) :]
        except BrokenPipeError:
            self._stdin = self._stdin[:0]  # it does not want the rest
        if not self._stdin:
            self._close(stream)

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # Linux before 5.3, or a container's filter
        return None
