"""A COMPOSITE that is killed while it brings a stack back: the next run goes on, and the old version serves again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, program
from tests.engine import IMAGE, Stack, answer, docker
from tests.faults.kills import descendants
from tests.faults.rollbacks import killed
from tests.registry import free_port

COMPOSE = """
services:
  web:
    image: {image}
    command: ["sh", "-c", "mkdir -p /www && echo $$VERSION >/www/version && exec httpd -f -p 8080 -h /www"]
    ports: ["127.0.0.1:{port}:8080"]
    env_file: [web.env]
    stop_grace_period: 0s
    pull_policy: never
"""
EXTRA = """
  extra:
    image: {image}
    command: [sleep, "1000"]
    stop_grace_period: 0s
    pull_policy: never
"""


class Site:
    """A stack that serves the version which its env file names."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.port = free_port()
        self.compose = COMPOSE.format(image=IMAGE, port=self.port)
        self.stack = Stack(agent.root / "site", self.compose, {"web.env": "VERSION=one\n"})

    def chain(self) -> dict[str, Any]:
        """Another version and one more service; then a step fails."""
        here = str(self.stack.directory)
        more = f"name: {self.stack.name}\n{self.compose}{EXTRA.format(image=IMAGE)}"
        env = {"path": f"{here}/web.env", "set": {"VERSION": "two"}}
        reload = {"stack": here, "pull": "never", "stable_s": 0}
        steps: list[dict[str, Any]] = [
            {"id": "env", "type": "ENV_UPDATE", "payload": env},
            {"id": "file", "type": "FILE_WRITE", "payload": {"path": f"{here}/compose.yaml", "content": more}},
            {"id": "reload", "type": "DOCKER_RELOAD", "payload": reload},
            {"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{here}/none", "mode": "head"}},
        ]
        return {"steps": steps}

    def version(self) -> str:
        """What the service answers."""
        return answer(self.port, "/version")

    def containers(self) -> list[str]:
        label = f"label=com.docker.compose.project={self.stack.name}"
        return docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()

    def check_is_back(self) -> Any:
        """The old version serves, from its files, and nothing else runs; the outcome of the chain."""
        run = next(run for run in self.agent.json("history") if run["type"] == "COMPOSITE")
        assert self.version() == "one", (run["outcome"], self.stack.compose("ps", "--all"))
        assert (self.stack.directory / "web.env").read_text() == "VERSION=one\n"
        assert (self.stack.directory / "compose.yaml").read_text() == f"name: {self.stack.name}\n{self.compose}"
        assert self.containers() == [self.stack.container("web")]
        outcome = run["outcome"]
        assert outcome["data"]["not_put_back"] == []
        assert outcome["data"]["rolled_back"] is True
        states = {step["id"]: step["state"] for step in outcome["data"]["steps"]}
        assert states == {**dict.fromkeys(("env", "file", "reload"), "rolled_back"), "fails": "failed"}
        assert outcome["changed"] is False
        return outcome


@pytest.fixture
def site(agent: Agent, engine: str) -> Iterator[Site]:
    site = Site(agent)
    try:
        site.stack.compose("up", "-d")
        assert site.version() == "one"
        yield site
    finally:
        site.stack.compose("down", "-t", "0", "--remove-orphans", check=False)


# Between the first two of these the containers are brought back, and the files of the stack with them.
@pytest.mark.parametrize("moment", ["open 1 a", "note_undone 1 b", "note_undone 1 a"])
def test_containers_are_brought_back_after_a_crash(site: Site, moment: str) -> None:
    killed(site.agent, moment, "composite", "-", payload=site.chain())
    if moment == "open 1 a":
        assert site.version() == "two"
    outcome = site.check_is_back()
    assert outcome["status"] == "interrupted"
    assert "all of it is put back now" in outcome["error"]["message"]


def test_files_that_are_back_in_part_make_no_stack(site: Site) -> None:
    """The level is asked for by the compose file, and is gone already: it can't be read before that is back as well."""
    here = str(site.stack.directory)
    payload = site.chain()
    payload["steps"][1]["payload"]["content"] += '    labels: {level: "${LEVEL:?is missing}"}\n'
    env = {"path": f"{here}/.env", "content": "LEVEL=debug\n"}
    payload["steps"].insert(2, {"id": "level", "type": "FILE_WRITE", "payload": env})
    killed(site.agent, "_restore 1 a", "composite", "-", payload=payload)
    assert not (site.stack.directory / ".env").exists()
    assert "LEVEL" in (site.stack.directory / "compose.yaml").read_text()
    outcome = next(run for run in site.agent.json("history") if run["type"] == "COMPOSITE")["outcome"]
    assert outcome["data"]["not_put_back"] == []
    assert outcome["data"]["rolled_back"] is True
    assert site.version() == "one"
    assert site.containers() == [site.stack.container("web")]


@pytest.mark.parametrize("moment", ["open 1 a", "_restore 2 b", "_restore 2 a", "note_undone 1 b"])
def test_a_first_deployment_is_taken_away(site: Site, moment: str) -> None:
    payload = site.chain()
    site.stack.compose("down", "-t", "0")
    for path in site.stack.directory.iterdir():
        path.unlink()
    payload["steps"][0]["payload"]["create"] = True
    killed(site.agent, moment, "composite", "-", payload=payload)
    outcome = next(run for run in site.agent.json("history") if run["type"] == "COMPOSITE")["outcome"]
    assert outcome["data"]["not_put_back"] == []
    assert outcome["data"]["rolled_back"] is True
    assert list(site.stack.directory.iterdir()) == []
    assert site.containers() == []


def test_any_run_brings_them_back(site: Site) -> None:
    killed(site.agent, "open 1 a", "composite", "-", payload=site.chain())
    assert site.agent.run("FILE_WRITE", {"path": str(site.agent.root / "other"), "content": "x"}).success
    assert site.version() == "one"


def test_killed_at_any_instant_and_again_in_the_going_on(site: Site, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(max(1, rounds // 8)):
        (site.stack.directory.parent / "round").write_text(f"{number}\n")
        killed_some_time_after_the_record_is_there(site.agent, chance, "composite", "-", payload=site.chain())
        killed_some_time_after_the_record_is_there(site.agent, chance, "history")
        site.check_is_back()


def killed_some_time_after_the_record_is_there(
    agent: Agent, chance: random.Random, *words: str, payload: Any = None
) -> None:
    """Kill a run, with or without what it has started, or let it end if it is quicker."""
    run = subprocess.Popen(
        [*program(), *words],
        env=agent.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdin is not None
    run.stdin.write(json.dumps(payload).encode())
    run.stdin.close()
    while run.poll() is None and not has_record(agent.state_dir):
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 2.5))
    for pid in [run.pid, *(descendants(run.pid) if chance.random() < 0.5 else [])]:
        if run.poll() is None:
            os.kill(pid, signal.SIGKILL)
    run.wait(60)


def has_record(state_dir: Path) -> bool:
    directory = state_dir / "rollback"
    return directory.exists() and any(directory.iterdir())
