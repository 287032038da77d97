"""The breaker: after failures the next attempt moves out, so that a fleet does not fall on a weak orchestrator.

Persisted in the journal's facts; a poll before ``not_before`` touches no network.
"""

from __future__ import annotations

import random
import time

import msgspec
from msgspec import Struct

from letsbe.agent.journal import Journal
from letsbe.decoding import decode

FIRST_DELAY_S = 30.0
MAX_DELAY_S = 1800.0
_FACT = "breaker"


class Breaker(Struct, kw_only=True):
    """How often in a row the exchange has failed, why, and when the next one may be (seconds since the epoch)."""

    failures: int = 0
    not_before: float = 0.0
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether to leave the network alone for now. A clock that was set back must not close it for good."""
        return 0 < self.not_before - time.time() <= MAX_DELAY_S * 2


def load(journal: Journal) -> Breaker:
    """The breaker as it stands."""
    text = journal.fact(_FACT)
    return Breaker() if text is None else decode(text, Breaker)


#: Only what failed on the way to the orchestrator, or there, counts: a mistake on this machine is mended by a person,
#: and the next poll should see it.
def counts(code: str) -> bool:
    """Whether an error of this code is a failed exchange."""
    return code.startswith("orchestrator_") or code == "enrolment_refused"


def failed(journal: Journal, reason: str, retry_after_s: float | None) -> Breaker:
    """Another failure: exponential delay with full jitter in its upper half, or what the orchestrator asked for."""
    failures = load(journal).failures + 1
    if retry_after_s is not None:
        delay = min(retry_after_s, MAX_DELAY_S)
    elif failures == 1:
        delay = 0.0  # one failure is a blip: the next tick tries again
    else:
        delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** min(failures, 12)) * random.uniform(0.5, 1.0)  # noqa: S311
    breaker = Breaker(failures=failures, not_before=time.time() + delay, reason=reason)
    journal.remember(_FACT, msgspec.json.encode(breaker).decode())
    return breaker


def succeeded(journal: Journal, next_poll_s: int) -> None:
    """A success; ``next_poll_s`` is when the orchestrator wants to hear of us again."""
    before = load(journal)
    wait = min(float(next_poll_s), MAX_DELAY_S)
    if wait <= 0 and before.failures == 0 and before.not_before == 0:
        return  # nothing to write on an idle poll
    after = Breaker(
        not_before=time.time() + wait if wait > 0 else 0.0, reason="asked by the orchestrator" if wait else ""
    )
    journal.remember(_FACT, msgspec.json.encode(after).decode())
