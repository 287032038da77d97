"""What did not come up, with the end of its log: looked at before anything is rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.executors.log_source import Source, Window, new_records, opened
from letsbe.executors.reload_contract import Failure
from letsbe.tools.compose_project import container_name
from letsbe.tools.log_cursor import Position
from letsbe.tools.reload_state import Place

#: Of each container that failed, and of so many of them.
LOG_LINES = 30
MAX_LOGS = 5
MAX_LINE = 1000


def failures(
    context: Context, containers: Mapping[Place, Mapping[str, Any]], reasons: Mapping[Place, str]
) -> list[Failure]:
    """The containers at some places as failures, each with its reason."""
    found: list[Failure] = []
    for place, reason in reasons.items():
        one = containers.get(place)
        if one is None:
            found.append(Failure(service=place[0], container=None, reason=reason))
        else:
            log = _log(context, one) if len(found) < MAX_LOGS else []
            found.append(Failure(service=place[0], container=container_name(one), reason=reason, log=log))
    return found


def _log(context: Context, container: Mapping[str, Any]) -> list[str]:
    source = Source(id=container["Id"], name="", service=None, tty=bool(container["Config"].get("Tty")))
    try:
        stream = opened(context.host, source, Position(), Window(tail=LOG_LINES), follow=False)
        records = sorted(new_records(stream, Position()), key=lambda record: record.ns)[-LOG_LINES:]
    except LetsbeError as error:
        return [f"its log can't be read: {error.message}"]
    return [context.redactor.text(one.text.decode("utf-8", "replace"))[:MAX_LINE] for one in records]
