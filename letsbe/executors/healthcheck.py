"""HEALTHCHECK: is what runs here well?"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.health_logs import LogScan
from letsbe.executors.health_look import LOOK_AGAIN_S, Look
from letsbe.executors.health_report import Check, LogHit, Status, in_words, tell_apart, worst
from letsbe.executors.health_request import Payload, require_consistent
from letsbe.executors.side_by_side import side_by_side
from letsbe.host.clock import Deadline, now
from letsbe.tools.log_problems import LogProblems

#: Logs read at once.
PARALLEL_LOGS = 4
#: What a run may take beside the waiting, in seconds.
_LOOKING_S = 300.0
#: What waiting does not mend.
_LASTING = ("disk", "certificate")
_ORDER: tuple[Status, ...] = ("fail", "warn", "ok")


class Data(base.Data):
    """What HEALTHCHECK gives."""

    status: Annotated[Status, Meta(description="The worst of the checks; fail is the error `unhealthy` as well.")] = (
        "ok"
    )
    checks: Annotated[list[Check], Meta(description="All that was looked at, the worst first.")] = []
    log_hits: Annotated[list[LogHit], Meta(description="Lines of logs that tell of problems, grouped.")] = []
    summary: Annotated[str, Meta(description="How many checks failed, and the worst of them, in words.")] = ""


class Healthcheck(BaseExecutor[Payload, Data]):
    """Look whether a stack, some ports or the whole host is well: states, restarts, ports, logs, disks.

    What is unhealthy is a failed run with the error `unhealthy`, exit code 1, and the report in `data`; warnings are
    no failure. --output junit and --output prometheus (for a textfile collector) give the report in those forms.
    """

    type = "HEALTHCHECK"
    changes = False
    rerun_safe = True
    better_with = ("docker",)
    example = {"containers": ["{container}"]}

    def timeout_s(self, payload: Payload) -> float | None:
        """As long as it is to wait, and five minutes."""
        return payload.wait_s + _LOOKING_S if payload.wait_s else None

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Look, again and again if that is asked for, and judge."""
        require_consistent(payload)
        new_problems = partial(LogProblems, payload.log_patterns, payload.log_ignore)
        new_problems()  # a pattern that can't be had is told before anything is looked at
        look = Look(self.context, payload)
        waited = Deadline(payload.wait_s)
        while True:
            checks = look.checks()
            unwell = any(one.status != "ok" and one.kind not in _LASTING for one in checks)
            if not unwell or waited.remaining() == 0:
                break
            self.host.progress("waiting", None, in_words(checks))
            self.host.deadline.pause(min(LOOK_AGAIN_S, waited.remaining()))
        hits: list[LogHit] = []
        if payload.log_window_s:
            scan = LogScan(self.context, new_problems, payload.log_window_s, now())
            checks += [one for one in side_by_side(scan.scan, look.found, PARALLEL_LOGS) if one is not None]
            hits = scan.hits()
        tell_apart(checks)
        checks.sort(key=lambda one: _ORDER.index(one.status))
        data = Data(status=worst(one.status for one in checks), checks=checks, log_hits=hits, summary=in_words(checks))
        error = _unhealthy(data) if data.status == "fail" else None
        return ExecutionResult(data=data, error=error, warnings=look.warnings)


def _unhealthy(data: Data) -> LetsbeError:
    failed = sorted({one.target for one in data.checks if one.status == "fail"})
    return LetsbeError(
        "unhealthy",
        data.summary,
        hint="The checks under data say what was found and what was expected.",
        details={"failed": failed[:50]},
    )
