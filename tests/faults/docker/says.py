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


def refused(
    task: str, payload: Json, code: str, message: str, *, status: str = "failed", timeout_s: float | None = None
) -> Says:
    """Any task: it comes to nothing, and its error says this."""

    def part(outcome: Outcome, names: Json) -> Any:
        return outcome.error.message if outcome.error else None

    return Says(task, payload, part, Has(message), status, code, timeout_s=timeout_s)


def probes(**problems: Any) -> Says:
    """ECHO with probe: what is wrong with some programs; nothing if it has their version."""

    def part(outcome: Outcome, names: Json) -> Any:
        return {one["name"]: one["problem"] for one in outcome.data["programs"] if one["name"] in problems}

    return Says("ECHO", {"probe": True}, part, problems)


def reloads(
    action: str | None,
    code: str | None = None,
    *,
    pull: str = "never",
    status: str = "",
    timeout_s: float | None = None,
    **also: Any,
) -> Says:
    """DOCKER_RELOAD: what it did to the service; ``payload`` and parts of the data go into ``also``."""
    payload = {"stack": "{dir}", "stable_s": 1, "wait_timeout_s": 60, "pull": pull, **also.pop("payload", {})}
    changed = also.pop("changed", action not in (None, "none"))

    def part(outcome: Outcome, names: Json) -> Any:
        actions = [one["action"] for one in outcome.data.get("services", []) if one["name"] == names["service"]]
        told = {key: outcome.data.get(key) for key in also.keys() - {"message"}}
        if "message" in also:
            told["message"] = outcome.error.message if outcome.error else None
        return {"action": actions[0] if actions else None, **told}

    expected = {"action": action, **also}
    wanted = status or ("failed" if code else "succeeded")
    return Says("DOCKER_RELOAD", payload, part, expected, wanted, code, changed, timeout_s)


def composes(*steps: Json, expected: list[str]) -> Says:
    """COMPOSITE: what became of its steps, the last of which fails."""

    def part(outcome: Outcome, names: Json) -> Any:
        return [one["state"] for one in outcome.data["steps"]]

    named = [{"id": f"step{number}", **step} for number, step in enumerate(steps)]
    return Says("COMPOSITE", {"steps": named}, part, expected, "failed", "step_failed")


def judges(verdict: str, **wrong: Any) -> Says:
    """HEALTHCHECK of the service alone: the verdict, and what is said of some kinds; nothing else is wrong when ok."""

    def part(outcome: Outcome, names: Json) -> Any:
        told = {one["kind"]: one["message"] for one in outcome.data["checks"] if one["status"] != "ok"}
        return {"status": outcome.data["status"], **{kind: told.get(kind) for kind in wrong or told}}

    payload = {"stack": "{project}", "services": ["{service}"]}
    fate = ("failed", "unhealthy") if verdict == "fail" else ("succeeded", None)
    return Says("HEALTHCHECK", payload, part, {"status": verdict, **wrong}, *fate)


def compares(*drift: tuple[str, Any, Any], where: str = "running") -> Says:
    """STACK_HEALTH: in which list the service is, and in which fields it differs: declared, actual."""

    def part(outcome: Outcome, names: Json) -> Any:
        kinds = ("running", "done", "missing", "stopped", "paused", "orphans", "images_outdated")
        mine = (names["service"], names["container"])
        lists = {kind: [_name(one) for one in outcome.data[kind]] for kind in kinds}
        return {
            "where": " ".join(kind for kind, found in lists.items() if any(name in mine for name in found)),
            "drift": [_differs(one) for one in outcome.data["drift"] if one["service"] == names["service"]],
        }

    return Says("STACK_HEALTH", {"stack": "{project}"}, part, {"where": where, "drift": list(drift)})


def _name(listed: Any) -> Any:
    return listed if isinstance(listed, str) else listed["service"]


def _differs(drift: Json) -> tuple[str, Any, Any]:
    return drift["field"], drift["declared"], drift["actual"]


def resources(by: str = "{project}", **lists: Any) -> Says:
    """STACK_HEALTH of the stack named like this: some of its lists."""
    return Says("STACK_HEALTH", {"stack": by}, lambda outcome, names: {key: outcome.data[key] for key in lists}, lists)


def sends(*upstreams: tuple[str, list[Any], bool]) -> Says:
    """STACK_HEALTH: where the service's nginx sends what it may not: upstream, who is there instead, proven."""

    def part(outcome: Outcome, names: Json) -> Any:
        mine = [one for one in outcome.data["stale_upstreams"] if one["container"] == names["container"]]
        return [(one["upstream"], [place["container"] for place in one["sends_to"]], one["proven"]) for one in mine]

    return Says("STACK_HEALTH", {"stack": "{project}"}, part, list(upstreams))
