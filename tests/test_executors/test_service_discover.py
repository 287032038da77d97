"""SERVICE_DISCOVER, on real stacks."""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from letsbe.cli.draw import draw_outcome
from letsbe.host.net_tables import NetSocket, listening
from letsbe.protocol import Outcome
from letsbe.tools.compose_project import DIRECTORY_LABEL, PROJECT_LABEL, SERVICE_LABEL
from letsbe.tools.systemd import parse_services
from tests.agents import Agent
from tests.engine import IMAGE, Stack, docker, running
from tests.stack_trees import plant

SECRET = "Disc0ver-S3cret-value"
COMPOSE = f"""
services:
  web:
    image: "{IMAGE}"
    command: [httpd, -f, -p, "8080", -h, /www]
    ports: ["127.0.0.1::8080"]
    environment: {{DB_PASSWORD: {SECRET}}}
    volumes: ["data:/data", "./conf:/conf:ro"]
    restart: unless-stopped
    stop_grace_period: 0s
  job: {{image: "{IMAGE}", command: [sh, -c, "exit 3"]}}
volumes: {{data: {{}}}}
"""


@pytest.fixture(scope="module")
def machine(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Stack]]:
    agent = Agent(tmp_path_factory.mktemp("discover"))
    with running(agent.root / "shop", COMPOSE, {"conf/x": "1"}) as stack:
        docker("wait", stack.container("job"))
        name = f"{stack.name}-alone"
        try:
            docker("run", "-d", "--name", name, "--network", "none", IMAGE)
            plant(agent.root, {"blog/compose.yaml": "services: {db: {image: x}, app: {image: y}}\n"})
            yield agent, stack
        finally:
            docker("rm", "-f", name, check=False)


@pytest.fixture(scope="module")
def outcome(machine: tuple[Agent, Stack]) -> Outcome:
    return machine[0].run("SERVICE_DISCOVER", {})


def own(outcome: Outcome, stack: Stack) -> dict[str, Any]:
    return next(one for one in outcome.data["stacks"] if one["name"] == stack.name)


def test_a_stack_is_known_by_its_labels(machine: tuple[Agent, Stack], outcome: Outcome) -> None:
    _, stack = machine
    found = own(outcome, stack)
    assert found["dir"] == str(stack.directory)
    assert found["files"] == [str(stack.directory / "compose.yaml")]
    job, web = found["services"]
    assert (job["service"], job["state"], job["exit_code"]) == ("job", "exited", 3)
    assert (web["service"], web["state"], web.get("exit_code")) == ("web", "running", None)
    assert web["container_id"] == stack.inspect("web")["Id"][:12]
    assert web["image"] == IMAGE
    assert web["restart"] == "unless-stopped"
    assert sorted(web["mounts"]) == [f"{stack.directory}/conf:/conf:ro", f"{stack.name}_data:/data"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+->8080/tcp", web["ports"][0])
    assert web["networks"][f"{stack.name}_default"]


def test_containers_outside_stacks_are_told_apart(machine: tuple[Agent, Stack], outcome: Outcome) -> None:
    names = {one["container"]: one for one in outcome.data["unmanaged"]}
    assert names[f"{machine[1].name}-alone"]["service"] is None
    assert machine[1].container("web") not in names


def test_listeners_lead_to_containers(machine: tuple[Agent, Stack], outcome: Outcome) -> None:
    _, stack = machine
    found = [one for one in outcome.data["listeners"] if one["container"] == stack.container("web")]
    outside = next(one for one in found if not one["inside"])
    assert (outside["addr"], outside["process"]) == ("127.0.0.1", "docker-proxy")
    assert f":{outside['port']}->" in own(outcome, stack)["services"][1]["ports"][0]
    inside = next(one for one in found if one["inside"] and one["port"] == 8080)
    assert (inside["process"], inside["pid"]) == ("httpd", stack.inspect("web")["State"]["Pid"])


def test_listeners_lead_to_processes(agent: Agent) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("::1", 0))
        found = agent.run("SERVICE_DISCOVER", {"include": ["listeners"]}).data["listeners"]
        mine = {(one["proto"], one["addr"], one["port"]) for one in found if one["pid"] == os.getpid()}
        assert {("tcp", *tcp.getsockname()), ("udp", *udp.getsockname()[:2])} <= mine


def test_what_is_declared_and_does_not_run(machine: tuple[Agent, Stack], outcome: Outcome) -> None:
    agent, _ = machine
    blog = str(agent.root / "blog")
    expected = [{"name": "blog", "dir": blog, "files": [f"{blog}/compose.yaml"], "services": ["app", "db"]}]
    assert outcome.data["declared_not_running"] == expected
    for name in ("blog", blog):
        asked = agent.run("SERVICE_DISCOVER", {"stacks": [name], "include": ["containers"]})
        assert (asked.error, asked.data["stacks"], asked.data["declared_not_running"]) == (None, [], expected)


@pytest.mark.parametrize("by", ["name", "directory", "symlink"])
def test_one_stack_can_be_asked_for(machine: tuple[Agent, Stack], by: str) -> None:
    agent, stack = machine
    link = stack.directory.parent / "link"
    if not link.is_symlink():
        link.symlink_to(stack.directory)
    name = {"name": stack.name, "directory": str(stack.directory), "symlink": f"{link}/"}[by]
    outcome = agent.run("SERVICE_DISCOVER", {"stacks": [name]})
    assert outcome.data["declared_not_running"] == []
    assert [one["name"] for one in outcome.data["stacks"]] == [stack.name]
    assert outcome.data["unmanaged"] == []
    assert {one["container"] for one in outcome.data["listeners"]} == {stack.container("web")}


@pytest.mark.parametrize("asked", ["opt", "link"])
def test_a_stack_that_was_brought_up_through_a_symlink_runs(engine: str, agent: Agent, asked: str) -> None:
    plant(agent.root, {"opt/compose.yaml": f"services: {{web: {{image: '{IMAGE}'}}}}\n", "link": "-> opt"})
    name = f"lt{uuid.uuid4().hex[:10]}"
    labels = {PROJECT_LABEL: name, SERVICE_LABEL: "web", DIRECTORY_LABEL: f"{agent.root}/link"}
    words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    docker("run", "-d", "--name", name, "--network", "none", *words, IMAGE, "sleep", "1000")
    try:
        outcome = agent.run("SERVICE_DISCOVER", {"stacks": [f"{agent.root}/{asked}"], "include": ["containers"]})
    finally:
        docker("rm", "-f", name)
    assert [one["name"] for one in outcome.data["stacks"]] == [name]
    assert outcome.data["declared_not_running"] == []


def test_a_stack_that_is_not_there_is_an_error(machine: tuple[Agent, Stack]) -> None:
    outcome = machine[0].run("SERVICE_DISCOVER", {"stacks": ["nobody-knows-it"]})
    assert outcome.error is not None
    assert outcome.error.code == "stack_not_found"
    assert "nobody-knows-it" in outcome.error.message


def test_without_an_engine_the_rest_is_told(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    outcome = agent.run("SERVICE_DISCOVER", {})
    assert outcome.success
    assert outcome.data["stacks"] is None
    assert outcome.data["listeners"]
    assert any("/nowhere/docker.sock" in warning for warning in outcome.warnings)
    alone = agent.run("SERVICE_DISCOVER", {"include": ["containers"]})
    assert alone.error is not None
    assert alone.error.code == "docker_unavailable"


def test_no_secret_of_a_container_leaves(outcome: Outcome) -> None:
    assert SECRET not in repr(outcome)


def test_a_person_sees_what_is_wrong_first(machine: tuple[Agent, Stack], outcome: Outcome) -> None:
    with open(os.devnull, "w") as nowhere:
        stack = machine[1]
        console = Console(width=200, record=True, file=nowhere)
        draw_outcome(console, outcome)
    text = console.export_text()
    rows = [line.split()[0] for line in text.split(stack.name, 1)[1].splitlines() if IMAGE in line]
    assert rows[:2] == ["job", "web"]
    assert "exited with 3" in text
    assert "declared, nothing of it runs" in text
    assert "blog" in text


def test_tables_of_the_kernel_are_read() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    table = head + f"   0: 0100007F:1F90 00000000:0000 0A {rest} 4711 1 0 100 0 0 10 0\n"
    table += f"   1: 0100007F:1F91 0100007F:A000 01 {rest} 4712 1 0 100 0 0 10 0\n"
    assert list(listening(table, "tcp")) == [NetSocket("tcp", "127.0.0.1", 8080, 4711)]
    six = head + f"   0: 00000000000000000000000001000000:0016 {'0' * 32}:0000 0A {rest} 1 1\n"
    six += f"   1: 0000000000000000FFFF00000100007F:0017 {'0' * 32}:0000 0A {rest} 2 1\nrubbish\n"
    assert [(one.addr, one.port) for one in listening(six, "tcp")] == [("::1", 22), ("127.0.0.1", 23)]


def test_services_of_systemd_are_read() -> None:
    row = b'{"unit":"ssh.service","load":"loaded","active":"active","sub":"running","description":"OpenBSD SSH"}'
    assert [unit.unit for unit in parse_services(b"[" + row + b"]") or []] == ["ssh.service"]
    assert parse_services(b"Unknown output 'json'.") is None
