"""After a crash: runs whose process is gone get the outcome ``interrupted``, which says what they left."""

from __future__ import annotations

import time

from letsbe import __version__
from letsbe.agent.config import Config
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal, Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.undo import Undo
from letsbe.errors import LetsbeError
from letsbe.host.descendants import kill_marked
from letsbe.host.files import Files
from letsbe.protocol import ErrorInfo, Outcome, instant

#: How long to wait for another process that settles crashed runs, in seconds.
WAIT_S = 60.0


def recover(config: Config, journal: Journal) -> list[Outcome]:
    """Settle every run that is ``started`` without its process; returns their outcomes.

    Processes that it left running are killed. Each file that it was changing is compared with what it held before and
    should hold after, so that the outcome tells which of the two is there. One process at a time does it: another one
    that settles the same run could take the next run's change for a half-written file.
    """
    if not _crashed(journal):
        return []
    with Locks(config.state_dir).hold({"recovery"}, holder_now("recovery", None), WAIT_S):
        return [_settle(config, journal, run) for run in _crashed(journal)]


def _crashed(journal: Journal) -> list[Run]:
    return [run for run in journal.in_state("started") if run.process_is_gone]


def _settle(config: Config, journal: Journal, run: Run) -> Outcome:
    killed = kill_marked(run.id)
    undo = Undo(config.state_dir, journal, Files(config.roots))
    findings = []
    changed = False
    for change in journal.changes(run.id):
        try:
            finding = undo.diagnose(change)
        except (LetsbeError, OSError) as error:
            finding = f"{change.path} could not be read: {error}"
        changed = changed or finding.endswith("new content")
        findings.append(finding)
    if killed:
        findings.append(f"{killed} processes that it had started were still running and were killed")
    at_step = f" at step {run.step}" if run.step else ""
    what = "; ".join(findings) if findings else "no file change had begun"
    outcome = Outcome(
        task_id=run.id,
        type=run.type,
        status="interrupted",
        success=False,
        changed=changed,
        data={"last_step": run.step, "findings": findings},
        error=ErrorInfo(
            code="interrupted",
            message=f"its process (pid {run.pid}) ended{at_step} without an outcome: {what}",
            hint=f"`letsbe undo {run.id}` puts back what it changed.",
        ),
        started_at=instant(run.started_at or time.time()),
        duration_ms=0,
        agent_version=__version__,
    )
    journal.finish(run.id, outcome, steps_from=("started",))
    Inbox(config.state_dir).drop(run.id)
    return outcome
