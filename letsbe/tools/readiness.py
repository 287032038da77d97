"""Whether a container is up for good: healthy, or running long enough, or done with what it was to do.

Not asked of compose: ``up --wait`` takes a container that crashes over and over for running, since between two crashes
it is, and takes a one-shot that ended well for a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from letsbe.tools.log_time import NS, moment_ns

#: ready: up for good. waiting: may come yet. failed: will not come up by itself.
State = Literal["ready", "waiting", "failed"]

#: With these the engine leaves a container alone that ended with exit code 0.
_MAY_END = ("", "no", "on-failure")


class Readiness(Struct, frozen=True):
    """What one look at a container came to, with the reason in words."""

    state: State
    reason: str


class Watch:
    """One container over some looks; a restart between two of them begins its time anew."""

    def __init__(self, stable_s: float) -> None:
        self._stable_s = stable_s
        self._run: tuple[Any, ...] | None = None
        self._since = 0.0

    def look(self, found: Mapping[str, Any], clock: float, wall: float) -> Readiness:
        """What the engine's full description says at ``clock`` (monotonic) and ``wall`` (since the epoch), seconds.

        How long it runs is taken from its StartedAt at the first look and counted on the monotonic clock from there:
        a clock that is set meanwhile makes nobody stable.
        """
        state = found["State"]
        run = (found["Id"], state.get("StartedAt"), found.get("RestartCount"))
        if run != self._run:
            first = self._run is None
            self._run, self._since = run, clock
            if first:
                self._since -= max(0.0, wall - moment_ns(state["StartedAt"], wall) / NS)
        return self._verdict(found, clock - self._since)

    def _verdict(self, found: Mapping[str, Any], age: float) -> Readiness:
        state = found["State"]
        status = state.get("Status")
        health = (state.get("Health") or {}).get("Status")
        restarts = found.get("RestartCount") or 0
        again = f", restarted {restarts} times" if restarts else ""
        if status == "running" and health in ("healthy", "unhealthy", "starting"):
            return Readiness("ready" if health == "healthy" else "waiting", f"{health}{again}")
        if status == "running":
            ready = age >= self._stable_s
            return Readiness("ready" if ready else "waiting", f"running for {max(0, int(age))} s{again}")
        if status == "exited":
            return _exited(found, again)
        if status in ("dead", "removing"):
            return Readiness("failed", str(status))
        return Readiness("waiting", f"{status}{again}")


def _exited(found: Mapping[str, Any], again: str) -> Readiness:
    state = found["State"]
    code = state.get("ExitCode") or 0
    policy = (found.get("HostConfig") or {}).get("RestartPolicy") or {}
    name, most = policy.get("Name") or "", policy.get("MaximumRetryCount") or 0
    how = f"exited with {code}{', out of memory' if state.get('OOMKilled') else ''}{again}"
    if code == 0 and name in _MAY_END:
        return Readiness("ready", how)
    given_up = name in ("", "no") or (name == "on-failure" and 0 < most <= (found.get("RestartCount") or 0))
    return Readiness("failed" if given_up else "waiting", how)
