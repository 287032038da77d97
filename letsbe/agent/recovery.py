"""After a crash: runs whose process is gone are run again where that is safe, else told as ``interrupted``.

One that was being rolled back is first brought to the end of that (:mod:`letsbe.agent.resumption`)."""

from __future__ import annotations

import time
from collections.abc import Set
from contextlib import ExitStack

import msgspec

from letsbe import __version__
from letsbe.agent import rollback_record
from letsbe.agent.config import Config
from letsbe.agent.durable import remove
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.resumption import Resumption, claim, go_on
from letsbe.agent.steps import PUTTING_BACK
from letsbe.agent.undo import Undo
from letsbe.errors import LetsbeError
from letsbe.executors import executor_class
from letsbe.host.descendants import kill_marked
from letsbe.host.files import Files
from letsbe.protocol import ErrorInfo, Outcome, instant

#: How long to wait for another process that settles crashed runs, in seconds.
WAIT_S = 60.0

#: How often a task may crash its run in all: one that always does must not do so at every poll for ever.
MAX_CRASHES = 3


def recover(config: Config, journal: Journal, *, held: Set[str] = frozenset()) -> list[Outcome]:
    """Settle every run that is ``started`` without its process; returns the outcomes of those that end here.

    A task of the orchestrator whose type is ``rerun_safe`` waits for the next poll to run it again, up to
    :data:`MAX_CRASHES` runs in all; a run by hand or over SSH is never repeated, since nobody waits for it. A run that
    was being rolled back is gone on with, as often, if its locks are free or among those ``held`` by the caller; else
    it is left for the next time.

    Processes that it left running are killed. Each file that it was changing is compared with what it held before and
    should hold after, so that the outcome tells which of the two is there. One process at a time does it: another one
    that settles the same run could take the next run's change for a half-written file. A rollback may take minutes, so
    it is only claimed under that lock.
    """
    if not _crashed(journal):
        return []
    settled: list[Outcome | None] = []
    with ExitStack() as locked:
        resumptions: list[tuple[Resumption, int]] = []
        with Locks(config.state_dir).hold({"recovery"}, holder_now("recovery", None), WAIT_S):
            for run in _crashed(journal):
                killed = kill_marked(run.id)
                found = rollback_record.load(config.state_dir, run.id)
                if found is None or run.reruns + 1 >= MAX_CRASHES:
                    settled.append(_settle(config, journal, run, killed))
                elif (resumption := claim(config, journal, run, found, held, locked)) is not None:
                    resumptions.append((resumption, killed))
        settled += [_resume(config, journal, resumption, killed) for resumption, killed in resumptions]
    return [outcome for outcome in settled if outcome is not None]


def not_run_again(run: Run, config: Config, journal: Journal, reason: str) -> Outcome:
    """The outcome of a crashed run that was to run again and was not: it has begun, so it is no mere refusal."""
    findings, changed = _findings(config, journal, run)
    return _interrupted(run, findings, changed, f"{_crashes(run.reruns)}; it was not run again: {reason}")


def _crashed(journal: Journal) -> list[Run]:
    return [run for run in journal.in_state("started") if run.process_is_gone]


def _settle(config: Config, journal: Journal, run: Run, killed: int, problem: str = "") -> Outcome | None:
    """The outcome of a crashed run; None when it will run again. ``problem``: why its rollback could not go on."""
    put_back = _put_files_back(config, journal, run, problem)
    findings, changed = _findings(config, journal, run)
    findings += _killed(killed)
    if _may_run_again(run) and journal.start_again(run.id):
        return None
    findings += put_back
    at_step = f" at step {run.step}" if run.step else ""
    why = f"its process (pid {run.pid}) ended{at_step} without an outcome"
    if run.reruns:
        why = f"{why}; {_crashes(run.reruns + 1)}"
    outcome = _interrupted(run, findings, changed, why)
    _end(config, journal, outcome)
    return outcome


def _resume(config: Config, journal: Journal, resumption: Resumption, killed: int) -> Outcome | None:
    """The outcome of a run whose rollback is gone on with here."""
    run = resumption.run
    try:
        outcome, restored = go_on(config, journal, resumption)
    except LetsbeError as error:
        return _settle(config, journal, run, killed, error.message)
    findings, changed = _findings(config, journal, run)
    findings += [*_killed(killed), *(f"{path} was put back after the crash" for path in restored)]
    data = {"last_step": run.step, "findings": findings, **outcome.data}
    outcome = msgspec.structs.replace(outcome, data=data, changed=outcome.changed or changed)
    _end(config, journal, outcome)
    return outcome


def _killed(count: int) -> list[str]:
    processes = "1 process" if count == 1 else f"{count} processes"
    return [f"what it had started still ran and was killed: {processes}"] if count else []


def _end(config: Config, journal: Journal, outcome: Outcome) -> None:
    run_id = outcome.task_id or ""
    journal.finish(run_id, outcome, steps_from=("started",))
    Inbox(config.state_dir).drop(run_id)
    remove(rollback_record.path_of(config.state_dir, run_id))


def _put_files_back(config: Config, journal: Journal, run: Run, problem: str) -> list[str]:
    """Of a chain whose rollback was cut off and can't be gone on with: put the rest of the files back, and tell so."""
    outer, _, phase = run.step.rpartition(".")
    if phase != PUTTING_BACK:
        return [f"its rollback could not go on: {problem}"] if problem else []
    undone = Undo(config.state_dir, journal, Files(config.roots)).put_back(run.id, step=outer or None, resumed=True)
    told = [f"{path} was put back after the crash" for path in undone.restored]
    told += [f"not put back: {problem}" for problem in undone.problems]
    why = f" and could not go on ({problem})" if problem else ""
    return [*told, f"its rollback was cut off{why}; what its steps did beyond files may not have been put back"]


def _may_run_again(run: Run) -> bool:
    if run.attempt_id is None or run.claimed_at is None or run.cancel or run.reruns + 1 >= MAX_CRASHES:
        return False
    try:
        return executor_class(run.type).rerun_safe
    except LetsbeError:
        return False  # a type of another version of the agent


def _findings(config: Config, journal: Journal, run: Run) -> tuple[list[str], bool]:
    """What the files that it was changing hold now, and whether any holds something new."""
    found = Undo(config.state_dir, journal, Files(config.roots)).diagnose(journal.changes(run.id))
    return found.findings, found.changed


def _interrupted(run: Run, findings: list[str], changed: bool, why: str) -> Outcome:
    what = "; ".join(findings) if findings else "no file change had begun"
    return Outcome(
        task_id=run.id,
        type=run.type,
        status="interrupted",
        success=False,
        changed=changed,
        data={"last_step": run.step, "findings": findings},
        error=ErrorInfo(
            code="interrupted",
            message=f"{why}: {what}",
            hint=f"`letsbe undo {run.id}` puts back what it changed.",
        ),
        started_at=instant(run.started_at or time.time()),
        duration_ms=0,
        agent_version=__version__,
    )


def _crashes(times: int) -> str:
    return f"it has crashed its run {times} time{'' if times == 1 else 's'}"
