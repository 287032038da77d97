"""What each task type can say of a service, as the cases put it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from letsbe.protocol import Outcome
from tests.faults.docker.case import Has, Json, Says

if TYPE_CHECKING:
    from tests.faults.docker.scene import Scene


def discovers(**expected: Any) -> Says:
    """SERVICE_DISCOVER: fields of the service's container."""

    def part(outcome: Outcome, names: Json) -> Any:
        services = [one for stack in outcome.data["stacks"] for one in stack["services"]]
        found = next(one for one in services if one["container"] == names["container"])
        return {key: found.get(key) for key in expected}

    return Says("SERVICE_DISCOVER", {"stacks": ["{project}"]}, part, expected)


def tails(*texts: Any, **payload: Any) -> Says:
    """LOG_TAIL: the lines of the service."""
    return Says("LOG_TAIL", {"stack": "{project}", "services": ["{service}"], **payload}, _texts, list(texts))


def _texts(outcome: Outcome, names: Json) -> Any:
    return [line["text"] for line in outcome.data["lines"]]


def no_log(message: Any) -> Says:
    """LOG_TAIL: why the service's log can't be had."""

    def part(outcome: Outcome, names: Json) -> Any:
        return [one["message"] for one in outcome.data["errors"] if one["container"] == names["container"]]

    return Says("LOG_TAIL", {"stack": "{project}", "services": ["{service}"]}, part, [message])


def follows(*texts: Any, during: Callable[[Scene, str], object]) -> Says:
    """LOG_TAIL by hand: what is shown from the first line on, while something happens."""
    payload = {"stack": "{project}", "services": ["{service}"], "follow": True}
    return Says("LOG_TAIL", payload, _texts, list(texts), during=during)


def refused(task: str, payload: Json, code: str, message: str) -> Says:
    """Any task: it fails, and its error says this."""

    def part(outcome: Outcome, names: Json) -> Any:
        return outcome.error.message if outcome.error else None

    return Says(task, payload, part, Has(message), status="failed", code=code)


def probes(**problems: Any) -> Says:
    """ECHO with probe: what is wrong with some programs; nothing if it has their version."""

    def part(outcome: Outcome, names: Json) -> Any:
        return {one["name"]: one["problem"] for one in outcome.data["programs"] if one["name"] in problems}

    return Says("ECHO", {"probe": True}, part, problems)
