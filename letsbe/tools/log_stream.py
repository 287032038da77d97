"""The engine's log stream: frames or raw bytes in, lines with their time out.

A container without a terminal sends frames: one byte for the stream, three zeros, four for the size (big-endian), then
the message; one with a terminal sends the messages alone. Each message begins with its time. What a program writes as
one line of more than 16 KiB comes in several messages with the same time, of which the last ends in a line feed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

#: Of one line so much is kept, whatever its length.
MAX_LINE = 64 * 1024
#: What the engine puts into one message at most.
_PIECE = 16 * 1024
_STREAMS = {1: "stdout", 2: "stderr"}
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ")


class LogRecord(Struct, frozen=True, gc=False):
    """A line: nanoseconds since the epoch, ``stdout`` or ``stderr``, its bytes, and how many were cut off."""

    ns: int
    stream: str
    text: bytes
    cut: int = 0
    #: It has no line feed yet: the program is still writing it, or ended in the middle.
    unfinished: bool = False


class _Line(Struct):
    ns: int
    text: bytearray
    cut: int = 0

    def add(self, piece: bytes) -> None:
        room = MAX_LINE - len(self.text)
        self.text += piece[:room]
        self.cut += max(0, len(piece) - room)


class LogStreamReader:
    """Takes the chunks of one stream, in whatever pieces they come; memory does not grow with them."""

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._rest = b""
        self._open: dict[str, _Line] = {}
        self._second = (b"", 0)
        #: Messages that went on with a line that an earlier one began.
        self.joined = 0

    def feed(self, chunk: bytes) -> Iterator[LogRecord]:
        """The lines that a chunk completes."""
        return self._raw(chunk) if self._tty else self._frames(chunk)

    def end(self) -> Iterator[LogRecord]:
        """What has no line feed, at the end of the stream."""
        if self._tty and self._rest:
            yield from self._messages("stdout", self._rest)
        self._rest = b""
        for stream, line in self._open.items():
            yield LogRecord(line.ns, stream, bytes(line.text), line.cut, unfinished=True)
        self._open = {}

    def _frames(self, chunk: bytes) -> Iterator[LogRecord]:
        data = self._rest + chunk if self._rest else chunk
        position, length = 0, len(data)
        while position + 8 <= length:
            stop = position + 8 + int.from_bytes(data[position + 4 : position + 8], "big")
            if stop > length:
                break
            record = self._message(_STREAMS.get(data[position], "stderr"), data[position + 8 : stop])
            if record is not None:
                yield record
            position = stop
        self._rest = data[position:]

    def _raw(self, chunk: bytes) -> Iterator[LogRecord]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._messages("stdout", line + b"\n")
        while len(self._rest) > 2 * _PIECE:  # the pieces of a long line, as far as they are whole
            found = _TIME.match(self._rest)
            size = _PIECE + (found.end() if found else 0)
            yield from self._messages("stdout", self._rest[:size])
            self._rest = self._rest[size:]

    def _messages(self, stream: str, line: bytes) -> Iterator[LogRecord]:
        """The messages in raw bytes that end in a line feed: pieces of a long line begin with their time again."""
        while line:
            found = _TIME.match(line)
            size = _PIECE + (found.end() if found else 0)
            piece, line = (line[:size], line[size:]) if _TIME.match(line, size) else (line, b"")
            record = self._message(stream, piece)
            if record is not None:
                yield record

    def _message(self, stream: str, message: bytes) -> LogRecord | None:
        if message[:19] == self._second[0] and message[29:31] == b"Z ":  # most lines: the same second, nine digits
            ns, text = self._second[1] + int(message[20:29]), message[31:]
        else:
            found = _TIME.match(message)
            ns = self._nanoseconds(found) if found else 0
            text = message[found.end() :] if found else message
        ends = text.endswith(b"\n")
        line = self._open.get(stream)
        if line is None and ends and len(text) <= MAX_LINE:
            return LogRecord(ns, stream, text[:-1])
        if line is None:
            line = self._open[stream] = _Line(ns, bytearray())
        else:
            self.joined += 1
        line.add(text[:-1] if ends else text)
        if not ends:
            return None
        del self._open[stream]
        return LogRecord(line.ns, stream, bytes(line.text), line.cut)

    def _nanoseconds(self, found: re.Match[bytes]) -> int:
        second, fraction = found.group(1), found.group(2) or b"0"
        if second != self._second[0]:
            moment = datetime.fromisoformat(second.decode() + "+00:00")
            self._second = (second, int(moment.timestamp()) * 1_000_000_000)
        return self._second[1] + int(fraction.ljust(9, b"0"))
