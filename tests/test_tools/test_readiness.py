"""When a container is up for good."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.tools.log_time import as_instant
from letsbe.tools.readiness import Watch

STARTED = 1_800_000_000.0


def container(status: str, *, started: float = STARTED, restarts: int = 0, **state: Any) -> dict[str, Any]:
    policy = state.pop("policy", {"Name": "no"})
    health = {"Health": {"Status": state.pop("health")}} if "health" in state else {}
    return {
        "Id": "c1",
        "RestartCount": restarts,
        "HostConfig": {"RestartPolicy": policy},
        "State": {"Status": status, "StartedAt": as_instant(int(started * 1e9)), **health, **state},
    }


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (container("running"), "waiting", "running for 1 s"),
        (container("running", started=STARTED - 60), "ready", "running for 61 s"),
        (container("running", restarts=4), "waiting", "running for 1 s, restarted 4 times"),
        (container("running", health="healthy"), "ready", "healthy"),
        (container("running", started=STARTED - 60, health="starting"), "waiting", "starting"),
        (container("running", started=STARTED - 60, health="unhealthy"), "waiting", "unhealthy"),
        (container("restarting", restarts=2, policy={"Name": "always"}), "waiting", "restarting, restarted 2 times"),
        (container("created"), "waiting", "created"),
        (container("paused"), "waiting", "paused"),
        (container("dead"), "failed", "dead"),
        (container("exited", ExitCode=0), "ready", "exited with 0"),
        (container("exited", ExitCode=0, policy={"Name": ""}), "ready", "exited with 0"),
        (container("exited", ExitCode=0, policy={"Name": "on-failure"}), "ready", "exited with 0"),
        (container("exited", ExitCode=0, policy={"Name": "always"}), "waiting", "exited with 0"),
        (container("exited", ExitCode=3), "failed", "exited with 3"),
        (container("exited", ExitCode=137, OOMKilled=True), "failed", "exited with 137, out of memory"),
        (container("exited", ExitCode=3, policy={"Name": "always"}), "waiting", "exited with 3"),
        (
            container("exited", ExitCode=3, restarts=2, policy={"Name": "on-failure", "MaximumRetryCount": 2}),
            "failed",
            "exited with 3, restarted 2 times",
        ),
        (container("exited", ExitCode=3, policy={"Name": "on-failure"}), "waiting", "exited with 3"),
    ],
)
def test_one_look(found: dict[str, Any], state: str, reason: str) -> None:
    looked = Watch(stable_s=10).look(found, clock=5.0, wall=STARTED + 1)
    assert (looked.state, looked.reason) == (state, reason)


def test_a_restart_begins_the_time_anew() -> None:
    watch = Watch(stable_s=10)
    assert watch.look(container("running"), 100.0, STARTED).state == "waiting"
    assert watch.look(container("running"), 109.0, STARTED).state == "waiting"
    again = container("running", started=STARTED + 9.5, restarts=1)
    assert watch.look(again, 110.5, STARTED).state == "waiting"
    assert watch.look(again, 120.0, STARTED).state == "waiting"
    assert watch.look(again, 120.5, STARTED).state == "ready"


def test_a_clock_that_is_set_meanwhile_makes_nobody_stable() -> None:
    watch = Watch(stable_s=10)
    watch.look(container("running"), 100.0, STARTED)
    assert watch.look(container("running"), 101.0, STARTED + 3600).state == "waiting"
    behind = Watch(stable_s=10)
    behind.look(container("running"), 100.0, STARTED - 3600)
    assert behind.look(container("running"), 110.0, STARTED - 3590).state == "ready"
