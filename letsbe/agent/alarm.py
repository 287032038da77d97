"""The alarm behind the deadline of a run, or of an exchange, for code that looks at no clock."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from letsbe.errors import DeadlineReached
from letsbe.host.clock import Deadline

#: How long after its deadline a run that looks at no clock is torn out of its code.
ALARM_GRACE_S = 10.0


@contextmanager
def alarm(deadline: Deadline) -> Iterator[None]:
    """Tear what runs out of code that looks at no clock, some seconds past its deadline. Main thread only.

    Raises :class:`DeadlineReached`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise DeadlineReached

    began = time.monotonic()
    seconds = deadline.remaining() + ALARM_GRACE_S
    before = signal.signal(signal.SIGALRM, ring)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if outer > 0:  # the alarm of the run that this is a step of
            signal.setitimer(signal.ITIMER_REAL, max(0.001, outer - (time.monotonic() - began)))
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def no_alarm() -> Iterator[None]:
    """Put a pending alarm off for good: what comes must not be torn apart, and has a deadline of its own."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)
    yield
