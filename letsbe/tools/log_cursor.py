"""Where reading a log stopped, so that it goes on there without losing or repeating a line.

Within one of a container's streams times never run back, and lines may share one: a place is a time and how many lines
of that time were read. The two streams are apart, since the engine writes them down out of order.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from msgspec import Struct

from letsbe import decoding

STREAMS = ("stdout", "stderr")
#: How late a line of a stream that was silent so far may be written down.
_LATE_NS = 2_000_000_000


class Place(Struct, array_like=True):
    """A time, and how many lines of exactly that time were read."""

    ns: int
    count: int


class Position:
    """How far one container's log was read."""

    def __init__(self, places: dict[str, Place] | None = None) -> None:
        self._start = {stream: Place(place.ns, place.count) for stream, place in (places or {}).items()}
        self._met: dict[str, int] = {}
        self._last = {stream: Place(place.ns, place.count) for stream, place in self._start.items()}
        self._first_ns: int | None = None

    @property
    def since_ns(self) -> int | None:
        """The earliest time of which there may be lines to read; None: of any."""
        return min(place.ns for place in self._start.values()) if self._start else None

    def is_new(self, stream: str, ns: int) -> bool:
        """Whether a line was not read before; asked once for each line, in the stream's order."""
        start = self._start.get(stream)
        if start is None or ns > start.ns:
            return True
        if ns < start.ns:
            return False
        self._met[stream] = self._met.get(stream, 0) + 1
        return self._met[stream] > start.count

    def read(self, stream: str, ns: int) -> None:
        """A line counts as read."""
        if self._first_ns is None:
            self._first_ns = ns
        last = self._last.get(stream)
        if last is not None and last.ns == ns:
            last.count += 1
        else:
            self._last[stream] = Place(ns, 1)

    def places(self) -> dict[str, Place]:
        """Where to go on, for both streams once there was a line of either."""
        if not self._last:
            return {}
        latest = max(place.ns for place in self._last.values())
        silent = Place(max(latest - _LATE_NS, self._first_ns or 0), 0)
        return {stream: self._last.get(stream, silent) for stream in STREAMS}

    def resumed(self) -> Position:
        """A position that begins where this one is."""
        return Position(self.places())


def encode(positions: dict[str, Position]) -> str:
    """Positions by container id, as a word."""
    places = {container[:12]: found for container, one in positions.items() if (found := one.places())}
    return urlsafe_b64encode(msgspec.json.encode(places)).decode().rstrip("=")


def decode(cursor: str) -> dict[str, Position]:
    """Positions by the first 12 characters of the container's id; :class:`ValueError` when it is no cursor."""
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = decoding.decode(raw, dict[str, dict[str, Place]])
    except ValueError as error:  # binascii's and msgspec's are such
        raise ValueError("is no cursor that LOG_TAIL gave") from error
    return {container: Position(places) for container, places in found.items()}
