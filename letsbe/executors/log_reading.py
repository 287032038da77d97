"""One reading of logs: what is there, then what comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from heapq import merge
from typing import Any

import msgspec

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.executors.log_contract import Data, Line, Payload, Problem, invalid
from letsbe.executors.log_filter import MAX_SHOWN, LogFilter
from letsbe.executors.log_source import Follower, Source, Window, new_records, opened
from letsbe.host.clock import Deadline, now
from letsbe.tools import log_cursor
from letsbe.tools.log_cursor import Position
from letsbe.tools.log_stream import LogRecord, LogStreamReader
from letsbe.tools.log_time import as_instant, moment_ns

#: Between two looks for containers that are new, while following, in seconds.
LOOK_FOR_NEW_S = 2.0
#: When the newest lines turn out to be long ones, the engine is asked for so many times more pieces.
MORE_PIECES = 16
#: Lines that following adds to those that were there.
MAX_FOLLOWED = 10_000


class LogReading:
    """One reading: where each container's log was left, and the lines that are kept."""

    def __init__(self, context: Context, payload: Payload, find: Callable[[], list[Source]]) -> None:
        self._context, self._host, self._payload = context, context.host, payload
        self._filter = LogFilter(context.redactor, payload.grep, payload.level)
        self._find = find
        self._sources = find()
        self._begin()
        self._most = payload.tail
        self._full = False
        selects = self._filter.selects or payload.cursor is not None
        moment = partial(_moment, payload)
        self._window = Window(
            since_ns=moment("since"), until_ns=moment("until"), tail=None if selects else payload.tail + 1
        )

    def _begin(self) -> None:
        self._positions = _positions(self._payload)
        self._lines: deque[tuple[int, Line]] = deque()
        self._bytes = 0
        self._data = Data()
        self._short = False

    def read(self) -> None:
        """What is there now; with a cursor the oldest lines that fit, else the newest."""
        self._read()
        while self._short and self._window.tail is not None:
            self._window = msgspec.structs.replace(self._window, tail=self._window.tail * MORE_PIECES)
            self._begin()
            self._read()
        if self._payload.follow:
            self._show_what_was_read()

    def _read(self) -> None:
        logs = [self._records(source) for source in self._sources]
        records = logs[0] if len(logs) == 1 else merge(*logs, key=lambda one: one[1].ns)
        for source, record in records:
            if not self._take(source, record, keep_oldest=self._payload.cursor is not None):
                self._data.truncated = True
                break

    def follow(self, deadline: Deadline) -> None:
        """What comes, until the deadline, or until there is enough."""
        follower = Follower(self._host)
        known: set[str] = set()
        self._most = len(self._lines) + MAX_FOLLOWED
        look = Deadline(0)
        try:
            while deadline.remaining() > 0 and not self._full:
                self._host.deadline.check()
                if look.remaining() == 0:
                    look = Deadline(LOOK_FOR_NEW_S)
                    self._follow_new(follower, known)
                arrived = follower.next(min(0.2, deadline.remaining()))
                if arrived is not None:
                    self._arrived(*arrived)
        finally:
            follower.stop()

    def finished(self) -> Data:
        """The lines in order, and the cursor."""
        kept = sorted(self._lines, key=lambda one: one[0])
        if not self._payload.merge:
            kept.sort(key=lambda one: one[1].container)
        self._data.lines = [line for _, line in kept]
        self._data.cursor = log_cursor.encode(self._positions)
        return self._data

    def _records(self, source: Source) -> Iterator[tuple[Source, LogRecord]]:
        position, tail, lines = self._position(source), self._window.tail, 0
        try:
            stream = opened(self._host, source, position, self._window, follow=False)
            reader = LogStreamReader(tty=stream.tty)
            for record in new_records(stream, position, reader):
                lines += 1
                yield source, record
        except LetsbeError as error:
            self._problem(source, error)
        else:
            # The engine counts the pieces of long lines: the first may have lost some, or others are missing.
            if tail is not None and lines <= self._payload.tail and lines + reader.joined >= tail:
                self._short = True

    def _take(self, source: Source, record: LogRecord, *, keep_oldest: bool) -> bool:
        """Keep a line if it is wanted; False when there is no room for it, and it counts as not read."""
        text = self._filter.shown(record)
        payload = self._payload
        if text is not None:
            size = len(text.encode())
            full = len(self._lines) >= self._most or self._bytes + size > payload.max_bytes
            if full and keep_oldest and self._lines:
                return False
            self._lines.append((record.ns, _line(source, record, text)))
            self._bytes += size
            while len(self._lines) > self._most or (self._bytes > payload.max_bytes and len(self._lines) > 1):
                self._bytes -= len(self._lines.popleft()[1].text.encode())
                self._data.truncated = True
        self._position(source).read(record.stream, record.ns)
        return True

    def _follow_new(self, follower: Follower, known: set[str]) -> None:
        try:
            sources = self._find()
        except LetsbeError as error:
            if error.code not in ("stack_not_found", "container_not_found"):
                raise
            return  # being made anew, perhaps
        for source in sources:
            if source.id not in known:
                known.add(source.id)
                window = Window(since_ns=self._window.since_ns)
                follower.add(source, self._position(source).resumed(), window)

    def _arrived(self, source: Source, what: LogRecord | LetsbeError) -> None:
        if isinstance(what, LetsbeError):
            self._problem(source, what)
        elif self._payload.follow:
            text = self._filter.shown(what)
            if text is not None and self._context.live is not None:
                self._context.live(_line(source, what, text))
            self._position(source).read(what.stream, what.ns)
        elif not self._take(source, what, keep_oldest=True):
            self._full = self._data.truncated = True

    def _show_what_was_read(self) -> None:
        show: Callable[[Any], None] | None = self._context.live
        for _, line in sorted(self._lines, key=lambda one: one[0]):
            if show is not None:
                show(line)
        self._lines.clear()
        self._bytes, self._data.truncated = 0, False

    def _position(self, source: Source) -> Position:
        return self._positions.setdefault(source.id[:12], Position())

    def _problem(self, source: Source, error: LetsbeError) -> None:
        if source.name not in {one.container for one in self._data.errors}:
            self._data.errors.append(Problem(container=source.name, code=error.code, message=error.message))


def _line(source: Source, record: LogRecord, text: str) -> Line:
    return Line(
        ts=as_instant(record.ns),
        container=source.name,
        service=source.service,
        stream="stderr" if record.stream == "stderr" else "stdout",
        text=text,
        partial=record.cut > 0 or record.unfinished or len(text) >= MAX_SHOWN,
    )


def _positions(payload: Payload) -> dict[str, Position]:
    try:
        return log_cursor.decode(payload.cursor) if payload.cursor else {}
    except ValueError as error:
        raise invalid("cursor", str(error)) from None


def _moment(payload: Payload, field: str) -> int | None:
    text = getattr(payload, field)
    try:
        return None if text is None else moment_ns(text, now())
    except ValueError as error:
        raise invalid(field, str(error)) from None
