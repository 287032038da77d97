"""The logs of some containers: read to their end, or followed through restarts."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host import Host
from letsbe.host.docker import LogStream
from letsbe.tools.log_cursor import Position
from letsbe.tools.log_stream import LogRecord, LogStreamReader
from letsbe.tools.log_time import for_engine

#: Between two looks at a container that has stopped, in seconds.
LOOK_AGAIN_S = 0.5
_WAITING = 1_000
#: When a log is rotated while it is followed, the engine sends its last lines once more, times included.
_REPEATED = 16


class Source(Struct, frozen=True, kw_only=True):
    """A container whose log is read."""

    id: str
    name: str
    service: str | None
    tty: bool


class Window(Struct, frozen=True, kw_only=True):
    """Which time is read, in nanoseconds since the epoch; ``tail``: only the newest lines, by the engine's count."""

    since_ns: int | None = None
    until_ns: int | None = None
    tail: int | None = None


def opened(host: Host, source: Source, position: Position, window: Window, *, follow: bool) -> LogStream:
    """The container's log from where reading stopped. Raises ``docker_error`` when its driver can't be read."""
    bounds = [ns for ns in (position.since_ns, window.since_ns) if ns is not None]
    options: dict[str, str | int] = {"follow": int(follow), "tail": window.tail or "all"}
    if bounds:
        options["since"] = for_engine(max(bounds))
    if window.until_ns is not None:
        options["until"] = for_engine(window.until_ns)
    return host.engine.logs(source.id, tty=source.tty, **options)


def new_records(stream: LogStream, position: Position, reader: LogStreamReader | None = None) -> Iterator[LogRecord]:
    """The lines of a stream that were not read before, as they come."""
    reader = reader or LogStreamReader(tty=stream.tty)
    for chunk in stream.chunks:
        for record in reader.feed(chunk):
            if position.is_new(record.stream, record.ns):
                yield record
    for record in reader.end():
        if position.is_new(record.stream, record.ns):
            yield record


class Follower:
    """Follows containers side by side, one thread each, through restarts, until it is told to stop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._arrived: queue.Queue[tuple[Source, LogRecord | LetsbeError]] = queue.Queue(_WAITING)
        self._stop = threading.Event()
        self._streams: dict[str, LogStream] = {}
        self._threads: list[threading.Thread] = []

    def add(self, source: Source, position: Position, window: Window) -> None:
        """Follow one more."""
        thread = threading.Thread(target=self._follow, args=(source, position, window), daemon=True)
        self._threads.append(thread)
        thread.start()

    def next(self, timeout_s: float) -> tuple[Source, LogRecord | LetsbeError] | None:
        """The next line, or why a container can't be followed; None when there was none in time."""
        with suppress(queue.Empty):
            return self._arrived.get(timeout=timeout_s)
        return None

    def stop(self) -> None:
        """End all threads."""
        self._stop.set()
        for stream in list(self._streams.values()):
            stream.close()
        for thread in self._threads:
            thread.join(1.0)

    def _follow(self, source: Source, position: Position, window: Window) -> None:
        try:
            while not self._stop.is_set():
                position = self._read(source, position, window)
                window = Window(until_ns=window.until_ns, since_ns=window.since_ns)
                while not self._stop.wait(LOOK_AGAIN_S):
                    found = self._host.engine.inspect([source.id])
                    if not found:
                        return
                    if found[0]["State"]["Running"]:
                        break
        except LetsbeError as error:
            if not self._stop.is_set():
                self._put(source, error)

    def _read(self, source: Source, position: Position, window: Window) -> Position:
        stream = opened(self._host, source, position, window, follow=True)
        self._streams[source.id] = stream
        if self._stop.is_set():
            stream.close()
        latest: deque[LogRecord] = deque(maxlen=_REPEATED)
        for record in new_records(stream, position):
            if record in latest:
                continue
            latest.append(record)
            if not self._put(source, record):
                break
            position.read(record.stream, record.ns)
        return position.resumed()

    def _put(self, source: Source, what: LogRecord | LetsbeError) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._arrived.put((source, what), timeout=0.2)
                return True
        return False
