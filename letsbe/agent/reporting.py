"""What was run here by hand or over SSH, told to the orchestrator with the next poll: at least once, a few a time."""

from __future__ import annotations

from msgspec import Struct

from letsbe.agent.caller import Caller
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.decoding import decode
from letsbe.protocol import HostRun, Outcome, instant

#: Runs looked through, and told, in one poll: what is left comes with the next one.
MOST = 50
MOST_PATHS = 20
_CURSOR = "reported_up_to"


class Report(Struct, frozen=True):
    """What a poll tells, and the row of the audit chain up to which all is told then; None: there is nothing new."""

    runs: list[HostRun]
    up_to: int | None


def report(journal: Journal) -> Report:
    """What ended since the last report that arrived."""
    ended = journal.finished_after(int(journal.fact(_CURSOR) or 0), MOST)
    runs = [_told(journal, run) for _, run in ended if run.origin != "orchestrator"]
    return Report(runs, ended[-1][0] if ended else None)


def arrived(journal: Journal, sent: Report) -> None:
    """The orchestrator has answered. An idle poll writes nothing."""
    if sent.up_to is not None:
        journal.remember(_CURSOR, str(sent.up_to))


def _told(journal: Journal, run: Run) -> HostRun:
    outcome = run.decoded_outcome()
    assert outcome is not None  # noqa: S101 - it is finished
    paths = _paths(journal, run, outcome)
    return HostRun(
        run_id=run.id,
        finished_at=instant(run.finished_at or 0),
        type=run.type,
        origin=run.origin,
        who=decode(run.caller, Caller).name[:200],
        status=outcome.status,
        changed=outcome.changed,
        paths=[path[:4096] for path in paths[:MOST_PATHS]],
        more_paths=max(0, len(paths) - MOST_PATHS),
    )


def _paths(journal: Journal, run: Run, outcome: Outcome) -> list[str]:
    return sorted({change.path for change in journal.changes(run.id)}) if outcome.changed else []
