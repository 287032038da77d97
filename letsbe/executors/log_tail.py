"""LOG_TAIL: what containers wrote."""

from __future__ import annotations

from typing import Any

from letsbe.errors import LetsbeError
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.log_contract import Data, Payload, invalid
from letsbe.executors.log_reading import LogReading
from letsbe.executors.log_source import Source
from letsbe.executors.stack_secrets import meet_in_containers
from letsbe.executors.stack_source import StackSource
from letsbe.host.clock import Deadline
from letsbe.tools.compose_project import container_name, membership


class LogTail(BaseExecutor[Payload, Data]):
    """Give the log lines of a stack or of containers: the newest, those that match, or what came since a cursor.

    Lines are in order of time, long ones joined, secrets redacted. By hand, --follow shows them as they come.
    """

    type = "LOG_TAIL"
    changes = False
    rerun_safe = True
    live = "follow"
    needs = ("docker",)
    example = {"containers": ["{container}"], "tail": 5}

    def timeout_s(self, payload: Payload) -> float | None:
        """As long as it is to follow, and a minute."""
        if payload.follow:
            return 365 * 86_400.0
        return payload.follow_s + 60.0 if payload.follow_s else None

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Read to the end of each log, then follow for as long as asked."""
        self._require_consistent(payload)
        reading = LogReading(self.context, payload, lambda: self._find(payload))
        try:
            reading.read()
            if payload.follow or payload.follow_s:
                reading.follow(Deadline(float("inf") if payload.follow else payload.follow_s))
        except KeyboardInterrupt:
            if not payload.follow:
                raise
        return ExecutionResult(data=reading.finished())

    def _find(self, payload: Payload) -> list[Source]:
        stack = payload.stack
        wanted = self._named(payload.containers) if stack is None else self._of_stack(stack, payload.services)
        found = self.host.engine.inspect(dict.fromkeys(wanted))
        meet_in_containers(self.context, found)
        return sorted(map(_source, found), key=lambda one: one.name)

    def _of_stack(self, name: str, services: list[str]) -> list[str]:
        members = [one for one in StackSource(self.context).members(name) if not one.stack.one_off]
        wanted = [one.id for one in members if not services or one.stack.service in services]
        if not wanted:
            raise _missing("stack", name)
        return wanted

    def _named(self, names: list[str]) -> list[str]:
        listed = self.host.engine.containers()
        wanted: list[str] = []
        for name in names:
            ids = [one["Id"] for one in listed if name == container_name(one) or _is_id(name, one["Id"])]
            if not ids:
                raise _missing("container", name)
            wanted += ids
        return wanted

    def _require_consistent(self, payload: Payload) -> None:
        if (payload.stack is None) == (not payload.containers):
            raise invalid("stack", "name either a stack or containers")
        if payload.services and payload.stack is None:
            raise invalid("services", "services are of a stack")
        if payload.follow and self.context.live is None:
            raise invalid("follow", "only the command line can follow without end; use follow_s and the cursor")
        if payload.until is not None and (payload.follow or payload.follow_s):
            raise invalid("until", "what is followed has no end")


def _source(found: dict[str, Any]) -> Source:
    member = membership(found["Config"].get("Labels"))
    return Source(
        id=found["Id"],
        name=container_name(found),
        service=member.service if member else None,
        tty=bool(found["Config"].get("Tty")),
    )


def _is_id(name: str, container: str) -> bool:
    return len(name) >= 12 and container.startswith(name)


def _missing(kind: str, name: str) -> LetsbeError:
    hint = "SERVICE_DISCOVER lists what there is."
    return LetsbeError(f"{kind}_not_found", f"there is no {kind} {name!r} with containers", hint=hint)
