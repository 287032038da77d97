"""Whether a container is well, from what the engine says of it once, or twice some seconds apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from letsbe.executors.health_report import Check, check
from letsbe.executors.health_request import Thresholds
from letsbe.tools.compose_project import container_name
from letsbe.tools.log_time import NS, moment_ns

Json = dict[str, Any]

#: Of the output of a failed health check so much is told, in characters.
_MAX_OUTPUT = 300
_EVER = ("always", "unless-stopped")


def may_be_looping(found: Json, thresholds: Thresholds, now: float) -> bool:
    """Whether only a second look can tell: it runs, but not for long, and would be started again if it ended.

    The engine calls a container "running" in each turn of such a loop, with the exit code 0.
    """
    state = found["State"]
    return state["Status"] == "running" and _policy(found) != "no" and _uptime_s(found, now) < thresholds.uptime_s


def container_checks(found: Json, later: Json | None, thresholds: Thresholds, now: float) -> list[Check]:
    """The checks of one container; ``later`` is the second look if there was one."""
    latest = later or found
    checks = [_state(latest)]
    if latest["State"]["Status"] in ("running", "restarting"):
        checks.append(_restarts(found, latest, thresholds, now))
    checks += _health(latest, now)
    checks += _memory(latest)
    return checks


def health_of(found: Json) -> str:
    """healthy, unhealthy, starting; empty without a health check."""
    status = (found["State"].get("Health") or {}).get("Status") or ""
    return "" if status == "none" else str(status)


def _state(found: Json) -> Check:
    name, state = container_name(found), found["State"]
    status, code = str(state["Status"]), state.get("ExitCode") or 0
    policy = _policy(found)
    if status == "running":
        return check("state", name, "ok", status, "running")
    if status == "exited" and code == 0 and policy not in _EVER:
        return check("state", name, "ok", "exited with 0", "running, or ended with 0")
    expected = "running" if policy in _EVER else "running, or ended with 0"
    reason = _because(state.get("Error"))
    if status == "exited" and code == 0:
        message = f"is stopped, and its restart policy is {policy}"
        return check("state", name, "fail", "exited with 0", expected, message + reason)
    if status in ("exited", "dead"):
        return check("state", name, "fail", f"{status} with {code}", expected, f"ended with exit code {code}{reason}")
    if status == "restarting":
        message = f"crashes: it ended with exit code {code} and waits to be started again{reason}"
        return check("state", name, "fail", status, expected, message)
    message = {"created": "was never started", "paused": "is paused", "removing": "is being removed"}.get(
        status, status
    )
    return check("state", name, "fail", status, expected, message + reason)


def _restarts(first: Json, latest: Json, thresholds: Thresholds, now: float) -> Check:
    name, count = container_name(latest), latest.get("RestartCount") or 0
    expected = f"fewer than {thresholds.restarts}, and to run for {thresholds.uptime_s} s after one"
    uptime = _uptime_s(latest, now)
    moved = count - (first.get("RestartCount") or 0)
    again = moved > 0 or first["State"]["StartedAt"] != latest["State"]["StartedAt"]
    observed = f"{count} restarts, up for {uptime} s"
    young = uptime < thresholds.uptime_s
    if again:
        return check("restarts", name, "fail", observed, expected, "is in a crash loop: it started again meanwhile")
    if count >= thresholds.restarts and young:
        message = f"is in a crash loop: restarted {count} times, the last time {uptime} s ago"
        return check("restarts", name, "fail", observed, expected, message)
    if count >= thresholds.restarts:
        return check("restarts", name, "warn", observed, expected, f"was restarted {count} times")
    if count and young:
        message = f"was restarted {uptime} s ago, {count} times in all"
        return check("restarts", name, "warn", observed, expected, message)
    return check("restarts", name, "ok", observed, expected)


def _health(found: Json, now: float) -> Iterator[Check]:
    name, status = container_name(found), health_of(found)
    if not status or found["State"]["Status"] != "running":
        return
    health = found["State"]["Health"]
    log = health.get("Log") or []
    streak = health.get("FailingStreak") or 0
    output = _because(str(log[-1].get("Output") or "")[:_MAX_OUTPUT]) if log else ""
    if status == "unhealthy":
        message = f"its health check failed {streak} times in a row{output}"
        yield check("health", name, "fail", status, "healthy", message)
    elif status == "starting":
        period = ((found["Config"].get("Healthcheck") or {}).get("StartPeriod") or 0) // NS
        message = f"is starting, for {_uptime_s(found, now)} s, of {period} s that it may take"
        yield check("health", name, "warn", status, "healthy", message)
    else:
        wrong = [one.get("ExitCode") != 0 for one in log]
        while wrong and wrong[0]:  # what failed before the first that went well, while it started
            del wrong[0]
        failed = sum(wrong)
        message = f"flaps: {failed} of its last {len(log)} health checks failed, {streak} in a row now"
        yield check("health", name, "warn" if failed or streak else "ok", status, "healthy", message)


def _memory(found: Json) -> Iterator[Check]:
    if found["State"].get("OOMKilled"):
        name, running = container_name(found), found["State"]["Status"] == "running"
        message = f"the kernel ended {'a process in it' if running else 'it'} for want of memory"
        yield check("memory", name, "warn" if running else "fail", "out of memory", "enough memory", message)


def _policy(found: Json) -> str:
    return str((found["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no")


def _uptime_s(found: Json, now: float) -> int:
    return max(0, int(now - moment_ns(found["State"]["StartedAt"], now) / NS))


def _because(words: Any) -> str:
    text = " ".join(str(words or "").split())
    return f": {text}" if text else ""
