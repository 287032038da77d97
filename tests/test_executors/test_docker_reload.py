"""DOCKER_RELOAD, on the real engine with images from a registry on loopback."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console

from letsbe.agent.caller import this_caller
from letsbe.agent.outcomes import Request
from letsbe.agent.runner import Runner
from letsbe.cli.draw import draw_outcome
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.engine import IMAGE, Stack, answer, docker
from tests.ports import free_port
from tests.registry import Registry

SECRET = "Rel0ad-S3cret-value"
SERVES = ("RUN echo {version} > /www/version", 'CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]')
CRASHES = ('CMD ["sh", "-c", "echo broken: no such table, password $DB_PASSWORD; exit 3"]',)
#: Never healthy, never unhealthy either.
HANGS = ("HEALTHCHECK --interval=1s --start-period=1000s CMD false", 'CMD ["sleep", "1000"]')
FAST = {"wait_timeout_s": 60, "stable_s": 1}


def serves(version: str) -> list[str]:
    """Answers with its version on port 8080."""
    return [f"RUN echo {version} > /www/version", 'CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]']


class Site:
    """A stack whose service ``web`` runs an image of the registry and is published on loopback."""

    first: Outcome

    def __init__(self, agent: Agent, registry: Registry, stack: Stack, image: str, port: int) -> None:
        self.agent = agent
        self.registry = registry
        self.stack = stack
        self.image = image
        self.port = port

    def reload(self, **payload: Any) -> Outcome:
        """Run it; what it tells on the way stands in ``told`` afterwards."""
        check = payload.pop("check", False)
        whole = {"stack": str(self.stack.directory), **FAST, **payload}
        runner = Runner(self.agent.config, origin="local", caller=this_caller())
        self.told: list[tuple[str, int | None, str]] = []
        runner.on_progress = lambda *told: self.told.append(told)
        return runner.run(Request(type="DOCKER_RELOAD", payload=whole, check=check))

    def set_tag(self, tag: str) -> None:
        self.stack.write(".env", f"TAG={tag}\nAPI_TOKEN={SECRET}-2\n")

    def local_image(self) -> str:
        """What the tag means on this machine."""
        return docker("image", "inspect", "--format", "{{.Id}}", f"{self.image}:1").strip()

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(400):
            if holds():
                return
            time.sleep(0.05)
        raise AssertionError("it never held")

    def version(self) -> str:
        """What the service answers."""
        return answer(self.port, "/version")

    def ids(self) -> dict[str, str]:
        """Container names with their ids."""
        lines = docker(
            "ps", "--all", "--no-trunc", "--filter", f"label=com.docker.compose.project={self.stack.name}",
            "--format", "{{.Names}} {{.ID}}",
        ).splitlines()  # fmt: skip
        return dict(line.split() for line in lines)


COMPOSE = """
services:
  web:
    image: "@image:${TAG}"
    ports: ["127.0.0.1:@port:8080"]
    env_file: [web.env]
    stop_grace_period: 0s
    restart: on-failure:2
  job:
    image: "@busybox"
    command: [sh, -c, "exit 0"]
    pull_policy: never
"""


@contextmanager
def a_site(agent: Agent, registry: Registry, compose: str = COMPOSE) -> Iterator[Site]:
    image, port = registry.repository(), free_port()
    registry.push(f"{image}:1", *serves("one"))
    text = compose.replace("@image", image).replace("@port", str(port)).replace("@busybox", IMAGE)
    files = {"web.env": f"DB_PASSWORD={SECRET}\n", ".env": f"TAG=1\nAPI_TOKEN={SECRET}-2\n"}
    stack = Stack(agent.root / "site", text, files)
    try:
        yield Site(agent, registry, stack, image, port)
    finally:
        stack.compose("down", "-t", "0", "-v", "--remove-orphans", check=False)


@pytest.fixture(scope="module")
def site(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that is up in some version; each test pushes what it needs, and finds and leaves it serving."""
    with a_site(Agent(tmp_path_factory.mktemp("reload")), registry) as made:
        made.first = made.reload()
        yield made


def actions(outcome: Outcome) -> dict[str, str]:
    return {f"{one['name']}.{one['number']}": one["action"] for one in outcome.data["services"]}


def test_first_run_brings_it_up_and_the_second_touches_nothing(site: Site) -> None:
    assert site.first.error is None
    assert site.first.changed
    assert actions(site.first) == {"job.1": "created", "web.1": "created"}
    assert [one["image"] for one in site.first.data["images_pulled"]] == [f"{site.image}:1"]
    before, served = site.ids(), site.version()
    second = site.reload(stable_s=1)
    assert second.error is None
    assert not second.changed
    assert actions(second) == {"job.1": "none", "web.1": "none"}
    assert second.data["images_pulled"] == []
    assert (site.ids(), site.version()) == (before, served)


def test_a_moved_tag_is_pulled_and_only_its_service_is_recreated(site: Site) -> None:
    before = site.ids()
    image = site.registry.push(f"{site.image}:1", "RUN dd if=/dev/urandom of=/big bs=1M count=5", *serves("two"))
    foreseen = site.reload(check=True)
    assert not foreseen.changed
    assert any("not asked" in warning for warning in foreseen.warnings)
    assert site.local_image() != image
    outcome = site.reload(stable_s=3)  # longer than compose takes to end: there is a wait to tell of
    assert outcome.error is None
    assert actions(outcome) == {"job.1": "none", "web.1": "recreated"}
    assert [one["after"] for one in outcome.data["images_pulled"]] == [image]
    assert site.version() == "two"
    assert any(step == "pull" and re.search(r"\d MB of \d", words) for step, _, words in site.told)
    assert any(step == "wait" and "of 2 ready" in words for step, _, words in site.told)
    job = site.stack.container("job")
    assert site.ids()[job] == before[job]


def test_a_broken_image_is_rolled_back(site: Site) -> None:
    served, old = site.version(), site.stack.inspect("web")["Image"]
    site.registry.push(f"{site.image}:1", *CRASHES)
    done = site.agent.cli("docker-reload", "--stack", site.stack.name, "--stable-s", "1", "--output", "json")
    assert site.version() == served
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["error"]["code"] == "not_ready"
    assert outcome["data"]["rolled_back"] is True
    assert site.stack.inspect("web")["Image"] == old == site.local_image()
    failed = outcome["data"]["failed"][0]
    assert (failed["service"], failed["log"][-1]) == ("web", "broken: no such table, password [redacted]")
    assert "restarted" in failed["reason"]
    assert SECRET.encode() not in done.stdout + done.stderr


def test_without_rollback_it_is_left_for_looking(site: Site) -> None:
    served, old = site.version(), site.stack.inspect("web")["Image"]
    new = site.registry.push(f"{site.image}:1", *CRASHES)
    outcome = site.reload(rollback=False)
    assert outcome.error is not None
    assert outcome.error.code == "not_ready"
    assert outcome.data["rolled_back"] is False
    assert site.stack.inspect("web")["Image"] == new
    docker("tag", old, f"{site.image}:1")
    mended = site.reload(pull="never")
    assert mended.error is None
    assert site.version() == served


@pytest.mark.parametrize("fault", ["missing tag", "dead registry"])
def test_what_can_not_be_pulled_changes_nothing(site: Site, fault: str) -> None:
    before, old, served = site.ids(), site.local_image(), site.version()
    if fault == "dead registry":
        site.registry.stop()
    else:
        site.set_tag("nope")
    try:
        outcome = site.reload()
    finally:
        site.registry.start() if fault == "dead registry" else site.set_tag("1")
    assert outcome.error is not None
    assert outcome.error.code == "pull_failed"
    assert ("manifest unknown" if fault == "missing tag" else "connection refused") in outcome.error.message
    assert "docker login" in outcome.error.hint
    assert not outcome.changed
    assert (site.ids(), site.local_image(), site.version()) == (before, old, served)


def test_a_registry_that_is_silent_is_given_up_at_the_deadline(site: Site) -> None:
    before, served = site.ids(), site.version()
    site.registry.stop()
    with socket.create_server(("127.0.0.1", site.registry.port)):
        outcome = site.agent.run("DOCKER_RELOAD", {"stack": site.stack.name, **FAST}, timeout_s=4)
    site.registry.start()
    assert outcome.status == "timed_out", outcome
    assert not outcome.changed
    assert (site.ids(), site.version()) == (before, served)


def test_composite_puts_the_env_file_and_the_image_back(site: Site) -> None:
    """A reload that went well is undone when a later step fails."""
    served, env = site.version(), (site.stack.directory / ".env").read_bytes()
    site.registry.push(f"{site.image}:later", *serves("later"))
    steps = [
        {
            "id": "tag",
            "type": "ENV_UPDATE",
            "payload": {"path": str(site.stack.directory / ".env"), "set": {"TAG": "later"}},
        },
        {"id": "reload", "type": "DOCKER_RELOAD", "payload": {"stack": str(site.stack.directory), **FAST}},
        {
            "id": "look",
            "type": "FILE_INSPECT",
            "payload": {"path": str(site.stack.directory / "missing"), "mode": "stat"},
        },
    ]
    outcome = site.agent.run("COMPOSITE", {"steps": steps})
    assert outcome.data["failed_step"] == "look"
    assert actions_of_step(outcome, 1)["web.1"] == "recreated"
    assert outcome.data["rolled_back"] is True, outcome.data["not_put_back"]
    assert (site.stack.directory / ".env").read_bytes() == env
    assert site.stack.inspect("web")["Config"]["Image"] == f"{site.image}:1"
    assert site.version() == served


def test_a_reload_that_fails_in_a_composite_has_the_old_env_file_back_first(site: Site) -> None:
    served, env = site.version(), (site.stack.directory / ".env").read_bytes()
    site.registry.push(f"{site.image}:bad", *CRASHES)
    steps = [
        {
            "id": "tag",
            "type": "ENV_UPDATE",
            "payload": {"path": str(site.stack.directory / ".env"), "set": {"TAG": "bad"}},
        },
        {"id": "reload", "type": "DOCKER_RELOAD", "payload": {"stack": site.stack.name, **FAST}},
    ]
    outcome = site.agent.run("COMPOSITE", {"steps": steps})
    assert outcome.data["rolled_back"] is True, outcome.data["not_put_back"]
    reload = outcome.data["steps"][1]["outcome"]
    assert reload["data"]["rolled_back"] is True
    assert reload["data"]["files_restored"] == [str(site.stack.directory / ".env")]
    assert (site.stack.directory / ".env").read_bytes() == env
    assert site.stack.inspect("web")["Config"]["Image"] == f"{site.image}:1"
    assert site.version() == served
    assert SECRET not in json.dumps(outcome.data)


def actions_of_step(outcome: Outcome, number: int) -> dict[str, str]:
    services = outcome.data["steps"][number]["outcome"]["data"]["services"]
    return {f"{one['name']}.{one['number']}": one["action"] for one in services}


def test_a_port_that_is_taken_is_rolled_back(site: Site) -> None:
    served = site.version()
    compose = (site.stack.directory / "compose.yaml").read_text()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        content = compose.replace(f"127.0.0.1:{site.port}", f"127.0.0.1:{taken.getsockname()[1]}")
        steps = [
            {
                "id": "file",
                "type": "FILE_WRITE",
                "payload": {"path": str(site.stack.directory / "compose.yaml"), "content": content},
            },
            {"id": "reload", "type": "DOCKER_RELOAD", "payload": {"stack": site.stack.name, **FAST}},
        ]
        outcome = site.agent.run("COMPOSITE", {"steps": steps})
    reload = outcome.data["steps"][1]["outcome"]
    assert reload["error"]["code"] == "up_failed"
    assert (
        "port is already allocated" in reload["error"]["message"]
        or "address already in use" in reload["error"]["message"]
    )
    assert reload["data"]["rolled_back"] is True
    assert (site.stack.directory / "compose.yaml").read_text() == compose
    assert site.version() == served


def test_a_cancelled_reload_goes_back(site: Site) -> None:
    served = site.version()
    site.registry.push(f"{site.image}:1", *HANGS)
    running = site.agent.start("docker-reload", "--stack", site.stack.name, "--stable-s", "1", "--output", "json")
    site.until(lambda: "starting" in str(site.stack.inspect("web")["State"].get("Health")))
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=60)
    outcome = json.loads(output)
    assert outcome["status"] == "cancelled", outcome["error"]
    assert outcome["data"]["rolled_back"] is True
    assert site.version() == served


def test_the_deadline_of_a_step_leaves_time_to_go_back(site: Site) -> None:
    served = site.version()
    site.registry.push(f"{site.image}:1", *HANGS)
    payload = {"stack": site.stack.name, "wait_timeout_s": 120, "stable_s": 1}
    outcome = site.agent.run(
        "COMPOSITE", {"steps": [{"id": "reload", "type": "DOCKER_RELOAD", "payload": payload, "timeout_s": 7}]}
    )
    assert outcome.status == "timed_out", outcome
    assert outcome.data["steps"][0]["outcome"]["data"]["rolled_back"] is True
    assert site.version() == served


def test_a_killed_reload_is_finished_by_the_next(site: Site) -> None:
    site.registry.push(f"{site.image}:1", *serves("killed"))
    running = site.agent.start("docker-reload", "--stack", site.stack.name, "--stable-s", "60")
    old = site.local_image()
    site.until(lambda: site.local_image() != old)
    running.kill()
    running.communicate()
    outcome = site.reload()
    assert outcome.error is None
    assert site.version() == "killed"
    assert not site.reload().changed


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        ({"services": ["web", "nope"]}, "service_unknown", "It declares job, web"),
        ({"stack": "lt-no-such-stack"}, "stack_not_found", "lt-no-such-stack"),
        ({"pull": "sometimes"}, "invalid_payload", "sometimes"),
        ({"wait_timeout_s": 0}, "invalid_payload", "wait_timeout_s"),
    ],
    ids=["service", "stack", "policy", "time"],
)
def test_what_can_not_be_is_refused(site: Site, payload: dict[str, Any], code: str, words: str) -> None:
    outcome = site.reload(**payload)
    assert outcome.error is not None
    assert outcome.error.code == code
    assert words in str(outcome.error)


def test_nothing_secret_is_kept(site: Site) -> None:
    """After all of the above."""
    journal = site.agent.journal()
    try:
        seen = str(journal.latest(50))
    finally:
        journal.close()
    assert SECRET not in seen


def test_drawn_for_a_person(site: Site) -> None:
    outcome = site.reload(recreate="always")
    screen = Console(width=120, file=io.StringIO(), force_terminal=False)
    draw_outcome(screen, outcome)
    text = screen.file.getvalue()
    assert re.search(rf"web +recreated +running +{re.escape(site.image)}:1", text)
    assert re.search(r"job +recreated +exited", text)
