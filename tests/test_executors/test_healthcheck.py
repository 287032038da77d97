"""HEALTHCHECK, on real stacks: one that is as sick as can be, looked at from many sides."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from letsbe.cli.draw import draw_outcome
from letsbe.host import sockets
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.engine import GREEDY, IMAGE, Stack, docker, running

SECRET = "Health-S3cret-value"
SAYS = """
i=0; while [ $$i -lt 500 ]; do i=$$((i+1)); echo "2026-01-01T00:00:00Z ERROR cannot open '/data/$$i' pid $$i"; done
echo "done with 0 errors, see error_log"
echo "{\\"level\\":\\"error\\",\\"msg\\":\\"login with $$DB_PASSWORD refused\\",\\"n\\":4711}"
echo "level=info msg=\\"an error was mended\\""
echo "queue depth 17 is strange"
exec httpd -f -p 8080
"""
COMPOSE = f"""
x-base: &base {{image: "{IMAGE}", stop_grace_period: 0s}}
services:
  web: {{<<: *base, command: [sh, -c, {json.dumps(SAYS)}], ports: ["127.0.0.1::8080"], environment: {{DB_PASSWORD: {SECRET}}}}}
  empty: {{<<: *base, command: [sleep, inf], ports: ["127.0.0.1::80"]}}
  inward: {{<<: *base, command: [httpd, -f, -p, "127.0.0.1:80"], ports: ["127.0.0.1::80"]}}
  loop: {{<<: *base, command: [sh, -c, "sleep 0.3; exit 0"], restart: always}}
  job: {{<<: *base, command: ["true"]}}
  badjob: {{<<: *base, command: ["false"]}}
  greedy: {{<<: *base, {GREEDY}}}
  frozen: {{<<: *base, command: [sleep, inf]}}
  silent: {{<<: *base, command: [sleep, inf], logging: {{driver: none}}}}
  sick:
    <<: *base
    command: [sleep, inf]
    healthcheck: {{test: [CMD, sh, -c, "echo no $$DB_PASSWORD; false"], interval: 200ms, retries: 1}}
    environment: {{DB_PASSWORD: {SECRET}}}
  slow:
    <<: *base
    command: [sleep, inf]
    ports: ["127.0.0.1::80"]
    healthcheck: {{test: [CMD, "false"], interval: 300ms, start_period: 300s}}
  resting: {{<<: *base, command: ["true"], profiles: [extra], restart: unless-stopped}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def ward(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Stack]]:
    agent = Agent(tmp_path_factory.mktemp("health"))
    with running(agent.root / "ward", COMPOSE) as stack:
        docker("pause", stack.container("frozen"))
        docker("wait", *(stack.container(name) for name in ("job", "badjob", "greedy")))
        while stack.inspect("sick")["State"]["Health"]["Status"] != "unhealthy":
            time.sleep(0.1)
        while stack.inspect("loop")["RestartCount"] < 3:
            time.sleep(0.1)
        yield agent, stack
        docker("unpause", stack.container("frozen"))


@pytest.fixture(scope="module")
def outcome(ward: tuple[Agent, Stack]) -> Outcome:
    agent, stack = ward
    return agent.run("HEALTHCHECK", {"stack": stack.name, "log_patterns": [r"depth \d+"]})


def of(outcome: Outcome, kind: str, target: str) -> Any:
    found = [one for one in outcome.data["checks"] if one["kind"] == kind and target in one["target"]]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("service", "kind", "status", "words"),
    [
        ("web", "state", "ok", ""),
        ("web", "port", "ok", ""),
        ("web", "logs", "warn", "502 lines in 15 min"),
        ("empty", "state", "ok", ""),
        ("empty", "port", "fail", "nothing listens on 80/tcp inside"),
        ("inward", "port", "fail", "listens on 127.0.0.1 inside the container, which nobody outside"),
        ("loop", "restarts", "fail", "crash loop"),
        ("job", "state", "ok", ""),
        ("badjob", "state", "fail", "exit code 1"),
        ("greedy", "memory", "fail", "want of memory"),
        ("frozen", "state", "fail", "is paused"),
        ("sick", "health", "fail", "failed"),
        ("slow", "health", "warn", "of 300 s that it may take"),
        ("slow", "port", "warn", "it is starting"),
    ],
)
def test_what_is_found(
    ward: tuple[Agent, Stack], outcome: Outcome, service: str, kind: str, status: str, words: str
) -> None:
    found = of(outcome, kind, ward[1].container(service))
    assert found["status"] == status, found
    assert words in found["message"]


def test_what_is_unhealthy_is_a_failed_run_with_its_report(ward: tuple[Agent, Stack], outcome: Outcome) -> None:
    assert outcome.data["status"] == "fail"
    assert outcome.error is not None
    assert outcome.error.code == "unhealthy"
    assert ward[1].container("badjob") in outcome.error.details["failed"]
    statuses = [one["status"] for one in outcome.data["checks"]]
    assert statuses == sorted(statuses, key=["fail", "warn", "ok"].index)
    ids = [one["id"] for one in outcome.data["checks"]]
    assert len(ids) == len(set(ids))


def test_equal_lines_are_one_hit(outcome: Outcome) -> None:
    hits = {one["template"]: one for one in outcome.data["log_hits"] if one["service"] == "web"}
    assert {text: one["count"] for text, one in hits.items()} == {
        "<time> ERROR cannot open <str> pid <n>": 500,
        "login with [redacted] refused": 1,
        "queue depth <n> is strange": 1,
    }
    assert hits["<time> ERROR cannot open <str> pid <n>"]["sample"].endswith("pid 500")
    assert all(one["first"] <= one["last"] for one in hits.values())


def test_lines_can_be_left_out(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    payload = {"containers": [stack.container("web")], "log_ignore": ["cannot open", 'refused$|refused"']}
    assert agent.run("HEALTHCHECK", payload).data["log_hits"] == []


def test_a_log_that_nobody_keeps_is_no_failure(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    outcome = agent.run("HEALTHCHECK", {"containers": [stack.container("silent")]})
    assert outcome.success
    assert {one["kind"] for one in outcome.data["checks"]} == {"state", "restarts"}


def test_no_secret_leaves(outcome: Outcome) -> None:
    assert SECRET not in repr(outcome)
    assert "[redacted]" in repr(outcome)


def test_ports_are_judged_without_root_by_what_is_exchanged(
    ward: tuple[Agent, Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, stack = ward
    monkeypatch.setattr(sockets, "waiting", lambda _: {})
    payload = {"stack": stack.name, "services": ["web", "empty", "inward"], "log_window_s": 0}
    outcome = agent.run("HEALTHCHECK", payload)
    assert of(outcome, "port", "-web-")["status"] == "ok"
    assert "nothing seems to be behind it" in of(outcome, "port", "-empty-")["message"]
    assert of(outcome, "port", "-inward-")["status"] == "fail"


def test_the_addresses_of_containers_may_be_probed(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    (network,) = stack.inspect("web")["NetworkSettings"]["Networks"].values()
    for host, refused in ((network["IPAddress"], False), ("172.31.255.254", True)):
        outcome = agent.run("HEALTHCHECK", {"ports": [{"host": host, "port": 8080, "expect": "http", "status": 404}]})
        assert (outcome.status == "refused") == refused, outcome
        assert refused or outcome.data["status"] == "ok", outcome.data


def test_some_services_of_a_stack_by_its_directory(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    payload = {"stack": str(stack.directory), "services": ["job", "resting"], "log_window_s": 0}
    outcome = agent.run("HEALTHCHECK", payload)
    assert of(outcome, "state", "job")["status"] == "ok"
    assert of(outcome, "service", "resting")["message"] == "has no container"
    assert len(outcome.data["checks"]) == 2


def test_waiting_ends_when_all_is_well(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    name = f"{stack.name}-late"
    test = ["--health-cmd", "test -e /tmp/ready", "--health-interval", "200ms", "--health-start-period", "60s"]
    docker("run", "-d", "--name", name, *test, IMAGE, "sh", "-c", "sleep 3; touch /tmp/ready; exec sleep inf")
    try:
        soon = agent.run("HEALTHCHECK", {"containers": [name]})
        assert (soon.success, soon.data["status"]) == (True, "warn")
        outcome = agent.run("HEALTHCHECK", {"containers": [name], "wait_s": 60})
        assert outcome.data["status"] == "ok", outcome.data
        assert outcome.duration_ms < 50_000
    finally:
        docker("rm", "-f", name)


def test_the_whole_host_is_its_containers_and_disks(ward: tuple[Agent, Stack]) -> None:
    agent, stack = ward
    outcome = agent.run("HEALTHCHECK", {"log_window_s": 0, "thresholds": {"disk_pct": 1}})
    assert of(outcome, "state", stack.container("badjob"))["status"] == "fail"
    disks = [one for one in outcome.data["checks"] if one["kind"] == "disk"]
    assert disks[0]["target"] == "/"
    assert {one["status"] for one in disks} <= {"warn", "fail"}
    assert "% of the inodes" in disks[0]["observed"]


def test_a_stack_of_which_nothing_runs_is_unhealthy(engine: str, agent: Agent) -> None:
    (agent.root / "idle").mkdir()
    (agent.root / "idle" / "compose.yaml").write_text(f"services: {{a: {{image: '{IMAGE}'}}}}\n")
    outcome = agent.run("HEALTHCHECK", {"stack": str(agent.root / "idle")})
    assert outcome.error is not None
    assert (outcome.error.code, outcome.data["checks"][0]["kind"]) == ("unhealthy", "stack")
    missing = agent.run("HEALTHCHECK", {"stack": "nobody-knows-it"})
    assert missing.error is not None
    assert missing.error.code == "stack_not_found"


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        ({"services": ["a"]}, "invalid_payload", "$.services"),
        ({"stack": "a", "containers": ["b"]}, "invalid_payload", "$.containers"),
        ({"ports": [{"port": 53, "proto": "udp", "expect": "http"}]}, "invalid_payload", "$.ports[0].expect"),
        ({"ports": [{"port": 1, "path": "/ HTTP/1.1\r\nX: y"}]}, "invalid_payload", "path"),
        ({"log_patterns": ["(a)\\1"]}, "invalid_pattern", "backreference"),
        ({"containers": ["nobody-knows-it"]}, "container_not_found", "nobody-knows-it"),
    ],
    ids=["services", "both", "udp", "path", "pattern", "container"],
)
def test_what_can_not_be_meant_is_refused(
    engine: str, agent: Agent, payload: dict[str, Any], code: str, words: str
) -> None:
    outcome = agent.run("HEALTHCHECK", payload)
    assert outcome.error is not None
    assert outcome.error.code == code
    assert words in f"{outcome.error.message} {outcome.error.details}"


def test_without_an_engine_it_could_not_look(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    outcome = agent.run("HEALTHCHECK", {})
    assert outcome.error is not None
    assert outcome.error.code == "docker_unavailable"
    assert outcome.data == {}


def test_a_person_sees_what_failed_first(ward: tuple[Agent, Stack], outcome: Outcome) -> None:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=220, record=True, file=nowhere)
        draw_outcome(console, outcome)
    text = console.export_text()
    marks = [line.split()[0] for line in text.splitlines()[4:] if line.strip()[:2] in ("✗ ", "! ", "✓ ")]
    assert marks == sorted(marks, key="✗!✓".index)
    assert {"✗", "!", "✓"} == set(marks)
    assert "500" in next(line for line in text.splitlines() if "cannot open" in line)
