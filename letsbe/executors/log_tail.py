"""LOG_TAIL: what containers wrote."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from heapq import merge
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.log_filter import MAX_SHOWN, LogFilter
from letsbe.executors.log_source import Follower, Source, Window, new_records, opened
from letsbe.executors.stack_secrets import meet_in_containers
from letsbe.executors.stack_source import StackSource
from letsbe.host.clock import Deadline, now
from letsbe.tools import log_cursor
from letsbe.tools.compose_project import container_name, membership
from letsbe.tools.log_cursor import Position
from letsbe.tools.log_stream import LogRecord, LogStreamReader
from letsbe.tools.log_time import as_instant, moment_ns

#: Between two looks for containers that are new, while following, in seconds.
LOOK_FOR_NEW_S = 2.0
#: When the newest lines turn out to be long ones, the engine is asked for so many times more pieces.
MORE_PIECES = 16
#: Lines that following adds to those that were there.
MAX_FOLLOWED = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Moment = Annotated[str, Meta(min_length=2, max_length=40)]


class Payload(base.Payload, frozen=True):
    """What LOG_TAIL takes: a stack or containers, and which lines."""

    stack: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4095)] | None,
        Meta(description="A project name, or the directory of a stack."),
    ] = None
    services: Annotated[list[Name], Meta(description="Of the stack, only these; empty: all.", max_length=100)] = []
    containers: Annotated[list[Name], Meta(description="Names or ids of containers instead.", max_length=100)] = []
    tail: Annotated[
        int, Meta(description="At most so many lines: the newest; the oldest with a cursor.", ge=1, le=10_000)
    ] = 200
    since: Annotated[
        Moment | None, Meta(description="Not before: RFC 3339 with a zone, or a duration back from now (10m, 2h, 1d).")
    ] = None
    until: Annotated[Moment | None, Meta(description="Not after; written like since.")] = None
    grep: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500)] | None,
        Meta(
            description="Only lines that match a regular expression, searched in linear time (no backreferences, no"
            " look-around), after secrets were covered."
        ),
    ] = None
    level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        Meta(description="Only lines that say they are at least so severe; a field (JSON, logfmt) decides first."),
    ] = None
    follow_s: Annotated[int, Meta(description="Go on for so many seconds with what comes.", ge=0, le=300)] = 0
    follow: Annotated[
        bool, Meta(description="By hand only: show lines as they come until Ctrl-C, which is no failure.")
    ] = False
    max_bytes: Annotated[int, Meta(description="Bytes of text to give.", ge=1_024, le=4 * 1024 * 1024)] = 262_144
    merge: Annotated[bool, Meta(description="All containers in order of time; false: one after the other.")] = True
    cursor: Annotated[
        Annotated[str, Meta(max_length=65_536)] | None,
        Meta(description="Go on after the lines that an earlier answer gave: its cursor."),
    ] = None


class Line(Struct, kw_only=True):
    """A line."""

    ts: Annotated[str, Meta(description="When the engine took it, in nanoseconds.")]
    container: Annotated[str, Meta(description="The container's name.")]
    service: Annotated[str | None, Meta(description="Its service; null for one of no stack.")]
    stream: Annotated[Literal["stdout", "stderr"], Meta(description="Where it was written; stdout on a terminal.")]
    text: Annotated[str, Meta(description="The line, secrets redacted; what is no UTF-8 is replaced.")]
    partial: Annotated[bool, Meta(description="It is longer than what is given, or was not ended yet.")] = False


class Problem(Struct, kw_only=True):
    """A container whose log can't be had."""

    container: Annotated[str, Meta(description="Its name.")]
    code: Annotated[str, Meta(description="The kind of error.")]
    message: Annotated[str, Meta(description="What the engine said.")]


class Data(base.Data):
    """What LOG_TAIL gives."""

    lines: Annotated[list[Line], Meta(description="The lines, the oldest first.")] = []
    truncated: Annotated[bool, Meta(description="More lines match than were given.")] = False
    cursor: Annotated[str | None, Meta(description="Send it with the same payload to go on from here.")] = None
    errors: Annotated[list[Problem], Meta(description="Containers whose log can't be had.")] = []


class LogTail(BaseExecutor[Payload, Data]):
    """Give the log lines of a stack or of containers: the newest, those that match, or what came since a cursor.

    Lines are in order of time, long ones joined, secrets redacted. By hand, --follow shows them as they come.
    """

    type = "LOG_TAIL"
    changes = False
    rerun_safe = True
    live = "follow"
    needs = ("docker",)
    example = {"containers": ["{container}"], "tail": 5}

    def timeout_s(self, payload: Payload) -> float | None:
        """As long as it is to follow, and a minute."""
        if payload.follow:
            return 365 * 86_400.0
        return payload.follow_s + 60.0 if payload.follow_s else None

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Read to the end of each log, then follow for as long as asked."""
        self._require_consistent(payload)
        run = _Run(self, payload)
        try:
            run.read()
            if payload.follow or payload.follow_s:
                run.follow(Deadline(float("inf") if payload.follow else payload.follow_s))
        except KeyboardInterrupt:
            if not payload.follow:
                raise
        return ExecutionResult(data=run.finished())

    def find(self, payload: Payload) -> list[Source]:
        """The containers that are meant, by name. ``stack_not_found``, ``container_not_found``."""
        stack = payload.stack
        wanted = self._named(payload.containers) if stack is None else self._of_stack(stack, payload.services)
        found = self.host.engine.inspect(dict.fromkeys(wanted))
        meet_in_containers(self.context, found)
        return sorted(map(_source, found), key=lambda one: one.name)

    def _of_stack(self, name: str, services: list[str]) -> list[str]:
        members = [one for one in StackSource(self.context).members(name) if not one.stack.one_off]
        wanted = [one.id for one in members if not services or one.stack.service in services]
        if not wanted:
            raise _missing("stack", name)
        return wanted

    def _named(self, names: list[str]) -> list[str]:
        listed = self.host.engine.containers()
        wanted: list[str] = []
        for name in names:
            ids = [one["Id"] for one in listed if name == container_name(one) or _is_id(name, one["Id"])]
            if not ids:
                raise _missing("container", name)
            wanted += ids
        return wanted

    def _require_consistent(self, payload: Payload) -> None:
        if (payload.stack is None) == (not payload.containers):
            raise _invalid("stack", "name either a stack or containers")
        if payload.services and payload.stack is None:
            raise _invalid("services", "services are of a stack")
        if payload.follow and self.context.live is None:
            raise _invalid("follow", "only the command line can follow without end; use follow_s and the cursor")
        if payload.until is not None and (payload.follow or payload.follow_s):
            raise _invalid("until", "what is followed has no end")


class _Run:
    """One reading: where each container's log was left, and the lines that are kept."""

    def __init__(self, executor: LogTail, payload: Payload) -> None:
        self._executor, self._payload = executor, payload
        self._host = executor.host
        self._filter = LogFilter(executor.context.redactor, payload.grep, payload.level)
        self._sources = executor.find(payload)
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
            sources = self._executor.find(self._payload)
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
            if text is not None and self._executor.context.live is not None:
                self._executor.context.live(_line(source, what, text))
            self._position(source).read(what.stream, what.ns)
        elif not self._take(source, what, keep_oldest=True):
            self._full = self._data.truncated = True

    def _show_what_was_read(self) -> None:
        show: Callable[[Any], None] | None = self._executor.context.live
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


def _source(found: dict[str, Any]) -> Source:
    member = membership(found["Config"].get("Labels"))
    return Source(
        id=found["Id"],
        name=container_name(found),
        service=member.service if member else None,
        tty=bool(found["Config"].get("Tty")),
    )


def _line(source: Source, record: LogRecord, text: str) -> Line:
    return Line(
        ts=as_instant(record.ns),
        container=source.name,
        service=source.service,
        stream="stderr" if record.stream == "stderr" else "stdout",
        text=text,
        partial=record.cut > 0 or record.unfinished or len(text) >= MAX_SHOWN,
    )


def _is_id(name: str, container: str) -> bool:
    return len(name) >= 12 and container.startswith(name)


def _positions(payload: Payload) -> dict[str, Position]:
    try:
        return log_cursor.decode(payload.cursor) if payload.cursor else {}
    except ValueError as error:
        raise _invalid("cursor", str(error)) from None


def _moment(payload: Payload, field: str) -> int | None:
    text = getattr(payload, field)
    try:
        return None if text is None else moment_ns(text, now())
    except ValueError as error:
        raise _invalid(field, str(error)) from None


def _missing(kind: str, name: str) -> LetsbeError:
    hint = "SERVICE_DISCOVER lists what there is."
    return LetsbeError(f"{kind}_not_found", f"there is no {kind} {name!r} with containers", hint=hint)


def _invalid(field: str, message: str) -> LetsbeError:
    return LetsbeError(
        "invalid_payload",
        f"{message} - at $.{field}",
        hint="`letsbe schema LOG_TAIL` shows what it takes.",
        details={"path": f"$.{field}"},
    )
