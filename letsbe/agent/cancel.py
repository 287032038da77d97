"""A cancel of the task that runs: polls mark it in the journal and send SIGUSR1, each minute until its outcome is in.

It tears an executor out of its code, once, and no step begins after it. It tears nothing else: what chains steps goes
on to put back what they did, and that, like the end of a run, goes to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from letsbe.errors import Terminated


class Cancel:
    """Whether one run is cancelled, and what that may disturb now. ``is_asked`` is asked at each signal."""

    def __init__(self, is_asked: Callable[[], bool] = lambda: False) -> None:
        self._is_asked = is_asked
        self._came = False
        self._may_tear = False
        self._putting_back = False

    def look(self, *_: object) -> None:
        """The handler of SIGUSR1. Raises :class:`Terminated` in an executor, at the first cancel."""
        if not self._came and self._is_asked():
            self._came = True
            if self._may_tear:
                raise _cancelled()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While an executor runs: it may be torn, and does not begin after a cancel, unless it is to put back."""
        if self._putting_back:
            yield
            return
        self._may_tear = True
        try:
            if self._came:
                raise _cancelled()
            yield
        finally:
            self._may_tear = False

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """While what was done is put back; the executor that does it is not torn afterwards either, but may tell."""
        self._may_tear = False
        before, self._putting_back = self._putting_back, True
        try:
            yield
        finally:
            self._putting_back = before


def _cancelled() -> Terminated:
    return Terminated("cancelled by the orchestrator")
