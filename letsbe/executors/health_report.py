"""What HEALTHCHECK gives: checks, and groups of log lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct

Status = Literal["ok", "warn", "fail"]
Kind = Literal[
    "stack", "service", "state", "health", "restarts", "memory", "port", "probe", "certificate", "disk", "logs"
]

_WORST: tuple[Status, ...] = ("fail", "warn", "ok")


class Check(Struct, kw_only=True):
    """One thing that was looked at."""

    id: Annotated[str, Meta(description="Its name: the same in every run, unlike every other's.")]
    kind: Annotated[Kind, Meta(description="What was looked at.")]
    target: Annotated[str, Meta(description="The container, port, disk or stack.")]
    status: Annotated[Status, Meta(description="The verdict.")]
    observed: Annotated[str, Meta(description="What was found.")]
    expected: Annotated[str, Meta(description="What should be found.")]
    message: Annotated[str, Meta(description="What is wrong, in a sentence; empty when nothing is.")] = ""
    ms: Annotated[int | None, Meta(description="How long a probe took, in milliseconds.")] = None


class LogHit(Struct, kw_only=True):
    """Lines that tell of the same problem."""

    service: Annotated[str, Meta(description="The service; the container's name outside stacks.")]
    template: Annotated[str, Meta(description="What the lines have in common, <n>, <time>, ... for what varies.")]
    count: Annotated[int, Meta(description="How many there are.")]
    first: Annotated[str, Meta(description="When the first was written, RFC 3339.")]
    last: Annotated[str, Meta(description="When the last was written.")]
    sample: Annotated[str, Meta(description="The last of them, secrets covered, cut at 500 characters.")]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of some verdicts; ok of none."""
    found = set(statuses)
    return next((one for one in _WORST if one in found), "ok")


def check(
    kind: Kind, target: str, status: Status, observed: str, expected: str, message: str = "", ms: int | None = None
) -> Check:
    """A check whose id is its kind and target."""
    return Check(
        id=f"{kind}:{target}",
        kind=kind,
        target=target,
        status=status,
        observed=observed,
        expected=expected,
        message="" if status == "ok" else message,
        ms=ms,
    )


def tell_apart(checks: list[Check]) -> None:
    """Number the ids that stand there twice: a port that is probed in two ways, for one."""
    seen: dict[str, int] = {}
    for one in checks:
        seen[one.id] = seen.get(one.id, 0) + 1
        if seen[one.id] > 1:
            one.id = f"{one.id} #{seen[one.id]}"


def in_words(checks: list[Check]) -> str:
    """Counts, and what is worst."""
    counts = {status: sum(one.status == status for one in checks) for status in _WORST}
    text = f"{counts['fail']} failed, {counts['warn']} warned, {counts['ok']} ok"
    bad = [one for status in _WORST[:2] for one in checks if one.status == status]
    return f"{text}: {bad[0].target}: {bad[0].message}" if bad else text
