"""What is kept of a stream of any length: its head and its tail."""

from __future__ import annotations

from collections.abc import Callable

#: Where a kept part may be cut off, best first.
_BOUNDARIES = (b"\n", b" ", b",", b"\t", b"\0")


class KeptOutput:
    """The head and the tail of a stream, within a limit in bytes; memory stays bounded whatever comes.

    ``watch`` is given each piece of the stream as it comes.
    """

    def __init__(self, limit: int, watch: Callable[[bytes], object] | None = None) -> None:
        self._watch = watch
        self._head_limit = max(1, limit // 2)
        self._tail_limit = max(1, limit - limit // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        """More of the stream."""
        if self._watch is not None:
            self._watch(data)
        self._total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_limit :]
        if len(self._tail) > self._tail_limit * 2 + 65_536:
            del self._tail[: -self._tail_limit]

    def result(self) -> tuple[bytes, int]:
        """What was kept, with a line where something was cut out of it, and how many bytes were.

        The cut is widened to whole lines, else words, where these are short: half a secret is not recognised as one.
        """
        head, tail = bytes(self._head), bytes(self._tail[-self._tail_limit :])
        if len(head) + len(tail) == self._total:
            return head + tail, 0
        head, tail = _without_last_part(head), _without_first_part(tail)
        cut = self._total - len(head) - len(tail)
        begin = b"" if head.endswith(b"\n") or not head else b"\n"
        return head + begin + b"[%d bytes cut]\n" % cut + tail, cut


def _without_last_part(head: bytes) -> bytes:
    for boundary in _BOUNDARIES:
        end = head.rfind(boundary) + 1
        if end > len(head) // 2:
            return head[:end]
    return head


def _without_first_part(tail: bytes) -> bytes:
    for boundary in _BOUNDARIES:
        begin = tail.find(boundary) + 1
        if 0 < begin < len(tail) // 2:
            return tail[begin:]
    return tail
