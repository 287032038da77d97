"""Time: deadlines that count on through clock changes, and progress."""

from __future__ import annotations

import time
from collections.abc import Callable

from letsbe.errors import LetsbeError

#: ``progress(step, percent, message)``: goes to the journal and, on a terminal, to the person who waits.
Progress = Callable[[str, int | None, str], None]


class Deadline:
    """A moment on the monotonic clock by which a run must have ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - time.monotonic())

    def within(self, seconds: float | None) -> float:
        """The smaller of ``seconds`` and what is left."""
        return self.remaining() if seconds is None else min(seconds, self.remaining())

    def pause(self, seconds: float) -> None:
        """Sleep; raise ``timed_out`` when the moment comes first."""
        time.sleep(self.within(seconds))
        self.check()

    def check(self) -> None:
        """Raise ``timed_out`` when the moment has passed."""
        if self.remaining() == 0.0:
            raise timed_out(self.seconds)


def timed_out(seconds: float) -> LetsbeError:
    """The error of a run that its deadline ended."""
    return LetsbeError(
        "timed_out",
        f"not finished after {seconds:g} s",
        hint="Give it longer with --timeout, or find what it waits for.",
    )


def now() -> float:
    """Seconds since the epoch, by this machine's clock."""
    return time.time()
