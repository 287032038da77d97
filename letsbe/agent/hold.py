"""The hold: for a while, by a person's word, this host begins no task of the orchestrator but the allowed types.

Kept in the journal's facts, so it outlives restarts; it ends by itself. Runs by hand or over SSH are only warned.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from letsbe.agent.caller import Caller
from letsbe.agent.journal import Journal
from letsbe.agent.task_types import types_in
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import Hold, Outcome, instant

_FACT = "hold"


class Held(Struct, frozen=True, kw_only=True):
    """A hold: why, who set it, from when until when (seconds since the epoch), and the task types that go on."""

    reason: str
    since: float
    until: float
    allow: list[str]
    caller: Caller

    def allows(self, task_type: str, payload: Any) -> bool:
        """Whether a task may begin all the same: its type is allowed, and that of every step inside it."""
        return types_in(task_type, payload) <= set(self.allow)

    def as_wire(self) -> Hold:
        """What the orchestrator is told."""
        return Hold(reason=self.reason, until=instant(self.until), allow=self.allow)

    def __str__(self) -> str:
        but = f" (but {', '.join(self.allow)})" if self.allow else ""
        return f"held until {instant(self.until)}{but}: {self.reason}"


def current(journal: Journal) -> Held | None:
    """The hold that is in force now."""
    text = journal.fact(_FACT)
    held = None if text is None else decode(text, Held)
    return held if held is not None and time.time() < held.until else None


def put(journal: Journal, held: Held | None) -> None:
    """Set the hold, in place of any other; None ends it."""
    journal.remember(_FACT, None if held is None else msgspec.json.encode(held).decode())


def warned(journal: Journal, outcome: Outcome) -> Outcome:
    """The outcome of a run by hand, with a warning while the host is held."""
    try:
        held = current(journal)
    except LetsbeError:  # what was done was done, and its outcome matters more
        return outcome
    if held is None:
        return outcome
    return msgspec.structs.replace(outcome, warnings=[*outcome.warnings, f"This host is {held}"])
