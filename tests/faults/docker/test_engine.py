"""Where an engine should be there is none, one that hangs, one that may not be asked, or something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bad_engines import (
    compose_of,
    forbidden,
    foreign,
    hanging_compose,
    hung,
    nothing,
    without_compose,
    without_docker,
)
from tests.faults.docker.case import Case, Has, Peer, Says
from tests.faults.docker.says import judges, probes, refused, tails

DISCOVER = ("SERVICE_DISCOVER", {"stacks": ["{project}"]})
TAIL = ("LOG_TAIL", {"stack": "{project}"})
HEALTH = ("HEALTHCHECK", {"stack": "{project}"})
COMPARE = ("STACK_HEALTH", {"stack": "{project}"})
RELOAD = ("DOCKER_RELOAD", {"stack": "{dir}"})
ASKED = [DISCOVER, TAIL, HEALTH, COMPARE, RELOAD]


def everyone(code: str, message: str) -> tuple[Says, ...]:
    """All task types that need an engine say the same."""
    return tuple(refused(task, payload, code, message) for task, payload in ASKED)


def without_compose_refused(code: str, message: str) -> tuple[Says, ...]:
    """Task types that need compose say so; the others work."""
    return tuple(refused(task, payload, code, message) for task, payload in (COMPARE, RELOAD))


CASES = [
    Case(
        "engine-down",
        engine=nothing,
        says=(*everyone("docker_unavailable", r"no\.sock.*No such file"), probes(docker=Has("Cannot connect"))),
        peer=Peer("docker compose ps", "Cannot connect to the Docker daemon", rc=1),
    ),
    Case(
        "engine-hangs",
        engine=hung,
        says=(*everyone("docker_timeout", r"engine\.sock"), probes(docker="no answer within 3 s")),
        peer=Peer("timeout 3 docker ps", "", rc=124, shown="nothing, for ever"),
    ),
    Case(
        "engine-may-not-be-asked",
        engine=forbidden,
        says=(*everyone("docker_unavailable", r"no permission.*engine\.sock"), probes(docker=Has("permission denied"))),
        peer=Peer("docker compose ps", "permission denied", rc=1),
    ),
    Case(
        "no-engine-but-a-mail-server",
        engine=foreign,
        says=(*everyone("docker_unavailable", r"engine\.sock"), probes(docker=Has("malformed"))),
        peer=Peer("docker compose ps", "malformed HTTP", rc=1),
    ),
    Case(
        "no-docker-program",
        engine=without_docker,
        says=(
            tails(),
            judges("ok"),
            *without_compose_refused("compose_missing", "no docker program"),
            probes(docker="docker is not installed", compose="docker is not installed"),
        ),
        peer=Peer("docker compose ps", "[Pp]ermission denied", rc=126, shown="permission denied"),
    ),
    Case(
        "no-compose",
        engine=without_compose,
        says=(
            tails(),
            judges("ok"),
            *without_compose_refused("compose_missing", "not installed"),
            probes(docker="", compose=Has("(unknown|not a docker) command")),
        ),
        peer=Peer("docker compose ps", "(unknown|not a docker) command", rc=1, shown="unknown command"),
    ),
    Case(
        "compose-hangs",
        engine=hanging_compose,
        says=(
            judges("ok"),
            refused(*COMPARE, "timed_out", "deadline", status="timed_out", timeout_s=6),
            probes(docker="", compose="no answer within 3 s"),
        ),
        peer=Peer("timeout 3 docker compose version", "", rc=124, shown="nothing, for ever"),
    ),
    Case(
        "compose-too-old",
        engine=compose_of("2.4.1"),
        says=(
            tails(),
            judges("ok"),
            *without_compose_refused("compose_too_old", r"2\.4\.1 is older than 2\.20"),
            probes(docker="", compose="older than 2.20"),
        ),
        peer=Peer("docker compose ps --services", "compose-too-old"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_engine_is_told(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
