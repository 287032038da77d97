"""What becomes of services: they crash, starve, hang, are sick, or are taken away."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.engine import GREEDY
from tests.faults.docker.case import AtLeast, Case, Has, Peer
from tests.faults.docker.faults import by_hand, flapped, health, restarted, status
from tests.faults.docker.says import compares, discovers, judges

UP_WAIT = "docker compose up -d --no-recreate --wait {service}"
CONNECT = "bash -c '</dev/tcp/127.0.0.1/{port}'"


#: Two kinds of trouble, one of them with a secret, and a line that only looks like it.
LOGS = json.dumps(
    "echo level=error msg=refused token=$$API_TOKEN; echo level=error msg=refused token=$$API_TOKEN;"
    " echo 'FATAL: no space'; echo '0 errors'; exec sleep 1000"
)

CASES = [
    Case(
        "crash-loop",
        service='command: [sh, -c, "exit 1"], restart: always',
        until=restarted(4),
        says=(
            discovers(restarts=AtLeast(4)),
            judges("fail", restarts=Has("crash loop")),
        ),
        peer=Peer(UP_WAIT, "Healthy"),
    ),
    Case(
        "crash-loop-exit-0",
        service='command: [sleep, "0.3"], restart: always',
        until=restarted(4),
        says=(
            discovers(restarts=AtLeast(4)),
            judges("fail", restarts=Has("crash loop")),
        ),
        peer=Peer("docker inspect -f '{{.State.Restarting}} {{.State.ExitCode}}' {container}", r"^\w+ 0$", shown="0"),
    ),
    Case(
        "one-shot-done",
        service='command: ["true"]',
        until=status("exited"),
        says=(
            discovers(state="exited", exit_code=0),
            judges("ok"),
            compares(where="done"),
        ),
        peer=Peer(UP_WAIT, r"exited \(0\)", rc=1),
    ),
    Case(
        "one-shot-failed",
        service='command: ["false"]',
        until=status("exited"),
        says=(
            discovers(state="exited", exit_code=1),
            judges("fail", state="ended with exit code 1"),
            compares(where="stopped"),
        ),
        peer=Peer("docker compose ps {service}", r"\A(?!.*one-shot-failed)", shown="no line, no error"),
    ),
    Case(
        "health-check-fails",
        service='healthcheck: {test: [CMD, "false"], interval: 0.5s, timeout: 5s, retries: 1}',
        until=health("unhealthy"),
        says=(
            discovers(state="running", health="unhealthy"),
            judges("fail", health=Has("failed .* times in a row")),
            compares(),
        ),
        peer=Peer("docker compose ps --status running --services", "health-check-fails"),
    ),
    Case(
        "health-check-flaps",
        service="healthcheck: {test: 'rm /tmp/ok || ! touch /tmp/ok', interval: 0.5s, timeout: 5s, retries: 3}",
        until=flapped,
        says=(discovers(state="running", health="healthy"), judges("warn", health=Has("flaps"))),
        peer=Peer("docker inspect -f '{{.State.Health.Status}}' {container}", "healthy"),
    ),
    Case(
        "health-check-starting",
        service='healthcheck: {test: [CMD, "false"], interval: 0.5s, timeout: 5s, start_period: 300s}',
        says=(
            discovers(state="running", health="starting"),
            judges("warn", health=Has("is starting")),
        ),
        peer=Peer("docker ps --filter name={container} --filter health=healthy -q", r"\A\Z", shown="nothing"),
    ),
    Case(
        "port-with-nothing-behind",
        service='ports: ["127.0.0.1::80"]',
        says=(
            discovers(state="running", ports=[Has("->80/tcp")]),
            judges("fail", port=Has("nothing listens on 80/tcp inside")),
        ),
        peer=Peer(CONNECT, r"\A\Z", shown="connects"),
    ),
    Case(
        "listens-on-loopback-inside",
        service='command: [httpd, -f, -p, "127.0.0.1:80"], ports: ["127.0.0.1::80"]',
        says=(
            discovers(state="running"),
            judges("fail", port=Has("127.0.0.1 inside the container")),
        ),
        peer=Peer(CONNECT, r"\A\Z", shown="connects"),
    ),
    Case(
        "out-of-memory",
        service=GREEDY,
        until=status("exited"),
        says=(
            discovers(state="exited", exit_code=137, oom_killed=True),
            judges("fail", memory=Has("want of memory"), state="ended with exit code 137"),
            compares(where="stopped"),
        ),
        peer=Peer("docker ps -a --filter name={container} --format '{{.Status}}'", r"Exited \(137\)"),
    ),
    Case(
        "paused",
        service='command: [httpd, -f, -p, "80"], ports: ["127.0.0.1::80"]',
        fault=by_hand("pause"),
        says=(
            discovers(state="paused"),
            judges("fail", state="is paused"),
            compares(where="paused"),
        ),
        peer=Peer(CONNECT, r"\A\Z", shown="connects"),
    ),
    Case(
        "stopped",
        fault=by_hand("stop", "-t", "0"),
        says=(
            discovers(state="exited", exit_code=137),
            judges("fail", state="ended with exit code 137"),
            compares(where="stopped"),
        ),
        peer=Peer("docker compose ps --services", r"\A(?!.*stopped)", shown="no line, no error"),
    ),
    Case(
        "removed",
        fault=by_hand("rm", "-f"),
        says=(judges("fail", service="has no container"), compares(where="missing")),
        peer=Peer("docker compose ps -a --services", r"\A(?!.*removed)", shown="no line, no error"),
    ),
    Case(
        "errors-in-the-log",
        service=f"command: [sh, -c, {LOGS}]",
        says=(judges("warn", logs="3 lines in 15 min tell of problems"),),
        peer=Peer("docker compose ps {service}", "Up"),
    ),
    Case(
        "unharmed",
        service='command: [httpd, -f, -p, "80"], ports: ["127.0.0.1::80"]',
        says=(
            discovers(state="running", health=None, restarts=0, exit_code=None, oom_killed=False),
            judges("ok"),
            compares(),
        ),
        peer=Peer(UP_WAIT, "Healthy"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_of_a_service_is_told(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
