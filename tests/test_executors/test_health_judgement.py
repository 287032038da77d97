"""What HEALTHCHECK makes of an engine's words that can't be had in a moment."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.executors.health_containers import container_checks, may_be_looping
from letsbe.executors.health_ports import check_published, published_ports
from letsbe.executors.health_request import Thresholds
from letsbe.host.net_tables import NetSocket

NOW = 1_800_000_000.0


def container(age_s: int = 3600, *, restarts: int = 0, policy: str = "always", **state: Any) -> dict[str, Any]:
    from letsbe.tools.log_time import as_instant

    return {
        "Id": "0" * 64,
        "Name": "/web",
        "RestartCount": restarts,
        "Config": {"Healthcheck": {"StartPeriod": 30_000_000_000}},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": as_instant(int(NOW - age_s) * 10**9), **state},
    }


def health(status: str, *codes: int, streak: int = 0) -> dict[str, Any]:
    log = [{"ExitCode": code, "Output": "no luck"} for code in codes]
    return {"Health": {"Status": status, "FailingStreak": streak, "Log": log}}


@pytest.mark.parametrize(
    ("found", "kind", "status", "words"),
    [
        (container(restarts=2), "restarts", "ok", ""),
        (container(restarts=3), "restarts", "warn", "was restarted 3 times"),
        (container(5, restarts=1), "restarts", "warn", "restarted 5 s ago"),
        (container(5, restarts=3), "restarts", "fail", "crash loop"),
        (container(**health("healthy", 0, 0)), "health", "ok", ""),
        (container(**health("healthy", 1, 1, 0)), "health", "ok", ""),
        (container(**health("healthy", 0, 1, 0)), "health", "warn", "1 of its last 3 health checks failed"),
        (container(**health("healthy", 0, 1, streak=1)), "health", "warn", "1 in a row now"),
        (container(**health("unhealthy", 1, streak=4)), "health", "fail", "4 times in a row: no luck"),
        (container(9, **health("starting", 1)), "health", "warn", "for 9 s, of 30 s"),
        (container(OOMKilled=True), "memory", "warn", "a process in it"),
        (container(Status="exited"), "state", "fail", "its restart policy is always"),
        (container(Status="exited", policy="on-failure"), "state", "ok", ""),
        (container(Status="exited", ExitCode=137, policy="no"), "state", "fail", "exit code 137"),
        (container(Status="created", Error="port is taken"), "state", "fail", "never started: port is taken"),
        (container(Status="restarting", ExitCode=2), "state", "fail", "ended with exit code 2"),
        (container(Status="dead"), "state", "fail", "exit code 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_look(found: dict[str, Any], kind: str, status: str, words: str) -> None:
    (check,) = [one for one in container_checks(found, None, Thresholds(), NOW) if one.kind == kind]
    assert check.status == status
    assert words in check.message


def test_a_second_look_shows_a_loop_that_has_just_begun() -> None:
    first, later = container(1), container(0, restarts=1)
    assert may_be_looping(first, Thresholds(), NOW)
    restarts = container_checks(first, later, Thresholds(), NOW)[1]
    assert (restarts.status, "started again meanwhile" in restarts.message) == ("fail", True)
    assert not may_be_looping(container(3600), Thresholds(), NOW)
    assert not may_be_looping(container(1, policy="no"), Thresholds(), NOW)


@pytest.mark.parametrize(
    ("inside", "status", "words"),
    [
        ([("udp", "0.0.0.0")], "ok", ""),
        ([("udp", "::1"), ("udp", "::")], "ok", ""),
        ([("udp", "127.0.0.1")], "fail", "listens on 127.0.0.1 inside"),
        ([("tcp", "0.0.0.0")], "fail", "nothing listens on 53/udp"),
    ],
    ids=["everywhere", "both", "loopback", "other protocol"],
)
def test_a_udp_port_is_judged_by_what_waits_inside(inside: list[tuple[Any, str]], status: str, words: str) -> None:
    ports = {"53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5353"}, {"HostIp": "::", "HostPort": "5353"}]}
    (port,) = published_ports({**container(), "NetworkSettings": {"Ports": ports}})
    check = check_published(port, [NetSocket(proto, addr, 53, 1) for proto, addr in inside])
    assert check.target == "web 127.0.0.1:5353->53/udp"
    assert check.status == status
    assert words in check.message
