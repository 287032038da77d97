"""What LOG_TAIL takes and gives."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.executors import base
from letsbe.executors.stack_fields import Name, ServiceNames, StackName

Moment = Annotated[str, Meta(min_length=2, max_length=40)]


class Payload(base.Payload, frozen=True):
    """What LOG_TAIL takes: a stack or containers, and which lines."""

    stack: StackName = None
    services: ServiceNames = []
    containers: Annotated[list[Name], Meta(description="Names or ids of containers instead.", max_length=100)] = []
    tail: Annotated[
        int, Meta(description="At most so many lines: the newest; the oldest with a cursor.", ge=1, le=10_000)
    ] = 200
    since: Annotated[
        Moment | None, Meta(description="Not before: RFC 3339 with a zone, or a duration back from now (10m, 2h, 1d).")
    ] = None
    until: Annotated[Moment | None, Meta(description="Not after; written like since.")] = None
    grep: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500)] | None,
        Meta(
            description="Only lines that match a regular expression, searched in linear time (no backreferences, no"
            " look-around), after secrets were covered."
        ),
    ] = None
    level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        Meta(description="Only lines that say they are at least so severe; a field (JSON, logfmt) decides first."),
    ] = None
    follow_s: Annotated[int, Meta(description="Go on for so many seconds with what comes.", ge=0, le=300)] = 0
    follow: Annotated[
        bool, Meta(description="By hand only: show lines as they come until Ctrl-C, which is no failure.")
    ] = False
    max_bytes: Annotated[int, Meta(description="Bytes of text to give.", ge=1_024, le=4 * 1024 * 1024)] = 262_144
    merge: Annotated[bool, Meta(description="All containers in order of time; false: one after the other.")] = True
    cursor: Annotated[
        Annotated[str, Meta(max_length=65_536)] | None,
        Meta(description="Go on after the lines that an earlier answer gave: its cursor."),
    ] = None


class Line(Struct, kw_only=True):
    """A line."""

    ts: Annotated[str, Meta(description="When the engine took it, in nanoseconds.")]
    container: Annotated[str, Meta(description="The container's name.")]
    service: Annotated[str | None, Meta(description="Its service; null for one of no stack.")]
    stream: Annotated[Literal["stdout", "stderr"], Meta(description="Where it was written; stdout on a terminal.")]
    text: Annotated[str, Meta(description="The line, secrets redacted; what is no UTF-8 is replaced.")]
    partial: Annotated[bool, Meta(description="It is longer than what is given, or was not ended yet.")] = False


class Problem(Struct, kw_only=True):
    """A container whose log can't be had."""

    container: Annotated[str, Meta(description="Its name.")]
    code: Annotated[str, Meta(description="The kind of error.")]
    message: Annotated[str, Meta(description="What the engine said.")]


class Data(base.Data):
    """What LOG_TAIL gives."""

    lines: Annotated[list[Line], Meta(description="The lines, the oldest first.")] = []
    truncated: Annotated[bool, Meta(description="More lines match than were given.")] = False
    cursor: Annotated[str | None, Meta(description="Send it with the same payload to go on from here.")] = None
    errors: Annotated[list[Problem], Meta(description="Containers whose log can't be had.")] = []


#: ``invalid_payload`` of one field.
invalid = partial(base.invalid_field, "LOG_TAIL")
