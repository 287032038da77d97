"""What the logs of some containers tell of problems, grouped; memory does not grow with the logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.executors.health_report import Check, LogHit, check
from letsbe.executors.log_source import Source, Window, new_records, opened
from letsbe.tools.compose_project import container_name, membership
from letsbe.tools.log_cursor import Position
from letsbe.tools.log_problems import LogProblems, is_suspicious
from letsbe.tools.log_stream import LogRecord
from letsbe.tools.log_template import MAX_LOOKED_AT, template
from letsbe.tools.log_time import NS, as_instant
from letsbe.tools.redaction import unmask

Json = dict[str, Any]

#: Of a container's log the newest lines are read.
MAX_LINES = 20_000
#: Different templates kept for a service, and told in all; the rest is counted as one.
MAX_TEMPLATES = 200
MAX_TOLD = 100
_MAX_SAMPLE = 500
_REST = "(lines of other kinds)"


class _Group(Struct):
    count: int
    first_ns: int
    last_ns: int
    sample: str

    def add(self, other: _Group) -> None:
        self.count += other.count
        self.first_ns = min(self.first_ns, other.first_ns)
        if other.last_ns >= self.last_ns:
            self.last_ns, self.sample = other.last_ns, other.sample


class LogScan:
    """A scan of several logs, which may be read side by side: a pattern remembers, so each has its own."""

    def __init__(self, context: Context, new_problems: Callable[[], LogProblems], window_s: int, now: float) -> None:
        self._context = context
        self._new_problems = new_problems
        self._minutes = f"in {_in_words(window_s)}"
        self._window = Window(since_ns=int((now - window_s) * NS), tail=MAX_LINES)
        #: Of each container, since several are read at once: its service, and what was found.
        self._found: list[tuple[str, dict[str, _Group]]] = []

    def scan(self, found: Json) -> Check | None:
        """Read one container's log to its end; None when its driver keeps none that can be read."""
        member = membership(found["Config"].get("Labels"))
        name = container_name(found)
        source = Source(
            id=found["Id"],
            name=name,
            service=member.service if member else None,
            tty=bool(found["Config"].get("Tty")),
        )
        groups: dict[str, _Group] = {}
        self._found.append((source.service or name, groups))
        problems = self._new_problems()
        lines = hits = 0
        try:
            stream = opened(self._context.host, source, Position(), self._window, follow=False)
            for record in new_records(stream, Position()):
                self._context.host.deadline.check()
                lines += 1
                hits += self._take(record, problems, groups)
        except LetsbeError as error:
            if error.code != "docker_error":
                raise
            return None
        more = f", of which only the newest {MAX_LINES} were read" if lines >= MAX_LINES else ""
        observed = f"{hits} of {lines} lines{more}"
        message = f"{hits} lines {self._minutes} tell of problems{more}"
        return check("logs", name, "warn" if hits else "ok", observed, "no line that tells of a problem", message)

    def hits(self) -> list[LogHit]:
        """The groups, the most frequent first."""
        merged: dict[tuple[str, str], _Group] = {}
        for service, groups in self._found:
            for text, group in groups.items():
                merged.setdefault((service, text), _Group(0, group.first_ns, 0, "")).add(group)
        found = [
            LogHit(
                service=service,
                template=text,
                count=group.count,
                first=as_instant(group.first_ns),
                last=as_instant(group.last_ns),
                sample=group.sample,
            )
            for (service, text), group in merged.items()
        ]
        return sorted(found, key=lambda one: (-one.count, one.service, one.template))[:MAX_TOLD]

    def _take(self, record: LogRecord, problems: LogProblems, groups: dict[str, _Group]) -> bool:
        if not problems.has_patterns and not is_suspicious(record.text[:MAX_LOOKED_AT]):
            return False
        text = record.text[: 2 * MAX_LOOKED_AT].decode("utf-8", "replace")  # a secret at the cut is seen whole
        shown = unmask(self._context.redactor.mask(text)[:MAX_LOOKED_AT])
        if not problems.counts(shown):
            return False
        kind = template(shown)
        if kind not in groups and len(groups) >= MAX_TEMPLATES:
            kind = _REST
        sample = shown.strip()[:_MAX_SAMPLE]
        groups.setdefault(kind, _Group(0, record.ns, 0, "")).add(_Group(1, record.ns, record.ns, sample))
        return True


def _in_words(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
