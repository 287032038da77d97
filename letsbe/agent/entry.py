"""What the agent does to itself (a hold, another key set), in the journal like any run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from letsbe import __version__
from letsbe.agent.caller import Caller
from letsbe.agent.config import Origin
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.protocol import Outcome, instant, new_id


class Entry(Struct):
    """An entry; ``outcome`` is there once the block is over."""

    outcome: Outcome


@contextmanager
def recorded(
    journal: Journal, name: str, data: dict[str, Any], *, changed: bool, origin: Origin, caller: Caller
) -> Iterator[Entry]:
    """Journal what the block does, between the two marks of a run. ``data`` is payload and result, nothing secret."""
    started = time.time()
    run_id = new_id()
    journal.start(
        Run(
            id=run_id,
            origin=origin,
            caller=msgspec.json.encode(caller).decode(),
            type=name,
            payload=msgspec.json.encode(data).decode(),
            state="started",
        )
    )
    entry = Entry(
        Outcome(
            task_id=run_id,
            type=name,
            status="succeeded",
            success=True,
            changed=changed,
            data=data,
            started_at=instant(started),
            duration_ms=0,
            agent_version=__version__,
        )
    )
    yield entry
    entry.outcome = msgspec.structs.replace(entry.outcome, duration_ms=int((time.time() - started) * 1000))
    journal.finish(run_id, entry.outcome)
