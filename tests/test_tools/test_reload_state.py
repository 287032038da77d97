"""What a reload reads from the engine's descriptions of containers."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.tools.log_time import as_instant
from letsbe.tools.reload_state import changes, has_ended_well, is_well

BEGAN = 1_800_000_000.0


def container(status: str, *, age_s: float = 60, restarts: int = 0, policy: str = "always", **state: Any) -> Any:
    return {
        "Id": "c" * 64,
        "Name": "/stack-web-1",
        "Image": "sha256:1",
        "RestartCount": restarts,
        "Config": {"Image": "web:1"},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
        "State": {"Status": status, "StartedAt": as_instant(int((BEGAN - age_s) * 1e9)), **state},
    }


@pytest.mark.parametrize(
    ("found", "well"),
    [
        (container("running"), True),
        (container("running", age_s=0), True),
        (container("running", Health={"Status": "starting"}), True),
        (container("running", Health={"Status": "unhealthy"}), False),
        (container("running", restarts=3), True),
        (container("running", restarts=3, Health={"Status": "unhealthy"}), False),
        (container("running", age_s=9, restarts=1), False),
        (container("running", age_s=-2, restarts=1), False),
        (container("restarting", restarts=1), False),
        (container("paused"), False),
        (container("exited", policy="no", ExitCode=0), True),
        (container("exited", policy="on-failure", ExitCode=0), True),
        (container("exited", policy="no", ExitCode=1), False),
        (container("exited", policy="always", ExitCode=0), False),
    ],
)
def test_a_container_is_well(found: Any, well: bool) -> None:
    assert is_well(found, BEGAN) is well
    assert has_ended_well(found) is (well and found["State"]["Status"] == "exited")


def test_one_that_crashes_was_not_well_before_though_it_ran_at_the_look() -> None:
    before = {("web", 1): container("running", age_s=0.05, restarts=7)}
    after = {("web", 1): container("running", age_s=-8, restarts=8)}
    (change,) = changes(before, after, BEGAN)
    assert change.action == "none"
    assert change.before is not None
    assert change.after is not None
    assert (change.before.well, change.after.well) == (False, False)
