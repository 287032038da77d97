"""``letsbe hold`` and ``letsbe release`` as runs of their own, so that the journal says who did it."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from letsbe.agent import hold
from letsbe.agent.caller import Caller
from letsbe.agent.config import Origin
from letsbe.agent.entry import recorded
from letsbe.agent.hold import Held
from letsbe.agent.journal import Journal
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY
from letsbe.protocol import MAX_HOLD_REASON, Outcome

#: A longer hold is a machine that should be taken out of the fleet.
MAX_HOLD_S = 30 * 86_400


def begin(journal: Journal, *, seconds: int, reason: str, allow: list[str], origin: Origin, caller: Caller) -> Outcome:
    """Hold this host for ``seconds``, in place of a hold that there may be.

    Raises ``usage`` for a reason that is empty, too long or has control characters, ``unknown_type`` for a task type
    that this agent does not have.
    """
    _refuse_unclear(reason)
    for name in allow:
        if name not in EXECUTOR_REGISTRY:
            known = ", ".join(EXECUTOR_REGISTRY)
            raise LetsbeError("unknown_type", f"--allow: no task type {name!r}", hint=f"Known types: {known}.")
    before = hold.current(journal)
    now = time.time()
    held = Held(reason=reason, since=now, until=now + seconds, allow=allow, caller=caller)
    data: dict[str, Any] = {**msgspec.to_builtins(held.as_wire()), "before": None if before is None else str(before)}
    with recorded(journal, "HOLD", data, changed=True, origin=origin, caller=caller) as entry:
        hold.put(journal, held)
    return entry.outcome


def end(journal: Journal, *, origin: Origin, caller: Caller) -> Outcome:
    """End the hold; nothing changes when there is none."""
    before = hold.current(journal)
    data = {"before": None if before is None else str(before)}
    with recorded(journal, "RELEASE", data, changed=before is not None, origin=origin, caller=caller) as entry:
        hold.put(journal, None)
    return entry.outcome


def _refuse_unclear(reason: str) -> None:
    problem = ""
    if not reason.strip():
        problem = "is empty"
    elif len(reason) > MAX_HOLD_REASON:
        problem = f"has {len(reason)} characters, at most {MAX_HOLD_REASON} are taken"
    elif not reason.isprintable():
        problem = "has control characters in it"
    if problem:
        raise LetsbeError("usage", f"the reason {problem}", hint='Say in a few words why, like "disk swap".')
