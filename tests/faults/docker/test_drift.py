"""What runs is not what is declared: files changed since, changes by hand, things taken away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests import nginx
from tests.engine import IMAGE, docker
from tests.faults.docker.case import Case, Has, Peer
from tests.faults.docker.faults import by_hand, replaced, started_long_ago, status
from tests.faults.docker.says import compares, refused, resources, sends
from tests.faults.docker.scene import Scene

#: A tag that is moved while a container runs from what it named before.
RETAGGED = f"letsbe-test/retagged-{uuid.uuid4().hex[:8]}:1"
HASHES_DIFFER = Peer(
    "bash -c 'docker compose config --hash {service}; docker inspect --format"
    ' "{{index .Config.Labels \\"com.docker.compose.config-hash\\"}}" {container}\'',
    r"\w+ (\w+)\n(?!\1)",
    shown="another hash than the container's label",
)
RUNNING = Peer("docker compose ps --format '{{.State}}' {service}", "running")


@pytest.fixture(scope="module", autouse=True)
def retagged(engine: str, nginx_image: str) -> Iterator[None]:
    docker("tag", IMAGE, RETAGGED)
    yield
    docker("image", "rm", "--force", RETAGGED, check=False)


def retag(scene: Scene, service: str) -> None:
    docker("commit", "--message", "another", scene.stack.container(service), RETAGGED)


def elsewhere(scene: Scene, service: str) -> None:
    """What is behind nginx is started again at another address, some time after nginx had looked it up."""
    behind = scene.stack.container(f"{service}-behind")
    before = nginx.address(behind)
    nginx.loaded(scene.stack.container(service))
    scene.wait(service, started_long_ago)
    with ExitStack() as others:
        while nginx.address(behind) == before:
            docker("stop", "--time", "0", behind)
            network = f"{scene.stack.name}_default"
            other = docker("run", "-d", "--network", network, IMAGE, "sleep", "1000").strip()
            others.callback(docker, "rm", "-f", other)
            docker("start", behind)


def elsewhere_and_asked(scene: Scene, service: str) -> None:
    elsewhere(scene, service)
    nginx.ask(scene.stack.container(service), "504")


def an_nginx(service: str) -> dict[str, Any]:
    """What the cases of an nginx, named like this, have in common: it is before a service of its own."""
    server = f"server {{ location / {{ proxy_connect_timeout 1s; proxy_pass http://{service}-behind:80; }} }}"
    return {
        "name": service,
        "service": f"image: '{nginx.IMAGE}', command: [nginx, '-c', /conf/{service}, '-g', daemon off;],"
        f" volumes: ['./nginx:/conf:ro'], depends_on: ['{service}-behind']",
        "behind": "",
        "files": {f"nginx/{service}": nginx.configuration(server)},
        "peer": RUNNING,
    }


def without_volume(scene: Scene, service: str) -> None:
    docker("rm", "-f", scene.stack.container(service))
    docker("volume", "rm", f"{scene.stack.name}_lost")


def without_network(scene: Scene, service: str) -> None:
    docker("network", "disconnect", "-f", f"{scene.stack.name}_gone", scene.stack.container(service))
    docker("network", "rm", f"{scene.stack.name}_gone")


CASES = [
    Case("untouched", service="ports: ['127.0.0.1::80']", says=(compares(),), peer=HASHES_DIFFER),
    Case(
        "env-var-changed",
        service="environment: {LEVEL: info, OWN_TOKEN: '{secret}'}",
        later="environment: {LEVEL: debug, OWN_TOKEN: '{secret}x'}",
        says=(compares(("environment.LEVEL", "debug", "info"), ("environment.OWN_TOKEN", "[redacted]", "[redacted]")),),
        peer=RUNNING,
    ),
    Case(
        "env-file-changed",
        service="env_file: [own.env]",
        files={"own.env": "LEVEL=info\nOWN_TOKEN={secret}\n"},
        fault=replaced("own.env", "LEVEL=debug\nNEW=1\n"),
        says=(
            compares(
                ("environment.LEVEL", "debug", "info"),
                ("environment.NEW", "1", None),
                ("environment.OWN_TOKEN", None, "[redacted]"),
            ),
        ),
        peer=RUNNING,
    ),
    Case(
        "label-changed",
        service="labels: {tier: front}",
        later="labels: {tier: back}",
        says=(compares(("labels.tier", "back", "front")),),
        peer=RUNNING,
    ),
    Case(
        "command-changed",
        service="command: [sleep, '1000']",
        later="command: [sleep, '2000']",
        says=(compares(("command", '["sleep", "2000"]', '["sleep", "1000"]')),),
        peer=RUNNING,
    ),
    Case(
        "port-changed",
        service="ports: ['127.0.0.1::80']",
        later="ports: ['127.0.0.1::81']",
        says=(
            compares(
                ("expose.80/tcp", None, "80/tcp"),
                ("expose.81/tcp", "81/tcp", None),
                ("ports.80/tcp", None, Has("127.0.0.1")),
                ("ports.81/tcp", Has("127.0.0.1"), None),
            ),
        ),
        peer=RUNNING,
    ),
    Case(
        "mount-changed",
        service="volumes: ['./files:/old']",
        later="volumes: ['./files:/new:ro']",
        files={"files/x": ""},
        says=(
            compares(
                ("mounts./new", Has("bind .*/files read-only"), None), ("mounts./old", None, Has("bind .*/files"))
            ),
        ),
        peer=RUNNING,
    ),
    Case(
        "alias-changed",
        service="networks: {default: {aliases: [old]}}",
        later="networks: {default: {aliases: [new]}}",
        says=(
            compares(
                ("networks.{project}_default.aliases.new", "new", None),
                ("networks.{project}_default.aliases.old", None, "old"),
            ),
        ),
        peer=RUNNING,
    ),
    Case(
        "restart-policy-by-hand",
        service="restart: always",
        fault=by_hand("update", "--restart", "no"),
        says=(compares(("restart", "always", None)),),
        peer=RUNNING,
    ),
    Case(
        "user-changed",
        service="user: '1000'",
        later="user: '1001'",
        says=(compares(("user", "1001", "1000")),),
        peer=RUNNING,
    ),
    Case(
        "limit-by-hand",
        service="mem_limit: 64m",
        fault=by_hand("update", "--memory", "32m", "--memory-swap", "32m"),
        says=(compares(("memory", str(64 << 20), str(32 << 20))),),
        peer=RUNNING,
    ),
    Case(
        "disconnected-by-hand",
        fault=by_hand("network", "disconnect", "{project}_default", "{container}"),
        says=(
            compares(
                ("networks.{project}_default", "attached", None),
                ("networks.{project}_default.aliases.{service}", "{service}", None),
            ),
        ),
        peer=RUNNING,
    ),
    Case(
        "mounted-file-renamed-over",
        service="volumes: ['./app.conf:/app.conf:ro']",
        files={"app.conf": "old\n"},
        fault=replaced("app.conf", "new\n"),
        says=(compares(("mounts./app.conf", Has("bind .*/app.conf"), Has("it was replaced"))),),
        peer=Peer("docker exec {container} cat /app.conf", "old"),
    ),
    Case(
        "image-retagged",
        service=f"image: '{RETAGGED}'",
        fault=retag,
        says=(compares(where="running images_outdated"),),
        peer=Peer(
            "docker inspect --format '{{.Config.Image}}' {container}", RETAGGED, shown="the tag that is declared"
        ),
    ),
    Case(
        "orphan",
        later=None,
        says=(compares(where="orphans"),),
        peer=Peer("docker compose ps --format '{{.Service}} {{.State}}'", "orphan running"),
    ),
    Case(
        "one-shot-that-is-waited-for",
        service="command: ['true'], restart: on-failure",
        until=status("exited"),
        says=(compares(where="done"),),
        peer=Peer("docker compose ps --services", r"\A(?!.*one-shot)", shown="no line"),
    ),
    Case(
        "volume-removed",
        service="volumes: ['lost:/data']",
        volumes=("lost",),
        fault=without_volume,
        says=(compares(where="missing"), resources(volumes_missing=["{project}_lost"])),
        peer=Peer("docker compose ps --services", r"\A(?!.*volume-removed)", shown="no line"),
    ),
    Case(
        "network-removed",
        service="networks: [gone]",
        networks=("gone",),
        fault=without_network,
        says=(
            compares(
                ("networks.{project}_gone", "attached", None),
                ("networks.{project}_gone.aliases.{service}", "{service}", None),
            ),
            resources(networks_missing=["{project}_gone"]),
        ),
        peer=RUNNING,
    ),
    Case(
        "stack-renamed",
        alone=True,
        fault=lambda scene, service: scene.declare({service: ""}, project=scene.names(service)["unique"]),
        says=(resources(by="{dir}", renamed=[{"project": "{project}", "containers": ["{container}"]}]),),
        peer=Peer("docker compose ps -a -q", r"\A\Z", shown="nothing"),
    ),
    Case(**an_nginx("nginx-untouched"), says=(sends(),)),
    Case(
        **an_nginx("nginx-not-asked-since"),
        fault=elsewhere,
        says=(sends(("nginx-not-asked-since-behind:80", [], False)),),
    ),
    Case(
        **an_nginx("nginx-sends-to-nobody"),
        fault=elsewhere_and_asked,
        says=(sends(("nginx-sends-to-nobody-behind:80", [None], True)),),
    ),
    Case(
        "compose-file-broken-beneath",
        alone=True,
        later="comand: [sleep]",
        says=(refused("STACK_HEALTH", {"stack": "{project}"}, "compose_invalid", "comand"),),
        peer=Peer("docker compose ps", "comand", rc=15),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_drift_is_told(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
