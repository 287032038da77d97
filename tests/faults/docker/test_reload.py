"""What a reload meets: new images and files, registries that fail, versions that do not come up, things in its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import docker
from tests.faults.docker.case import Case, Has, Peer
from tests.faults.docker.faults import pushed, replaced, status
from tests.faults.docker.says import composes, reloads
from tests.faults.docker.scene import Scene

LASTS = ('CMD ["sleep", "1000"]',)
CRASHES = ('CMD ["false"]',)
LARGE = ("RUN head -c 400000 /dev/urandom >/blob", *LASTS)
IMAGE = "image: '{image}', command: null"
PULL = "docker compose pull {service}"
PULL_AND_UP = "bash -c 'docker compose pull -q; docker compose up -d --wait'"


def registry_down(scene: Scene, service: str) -> None:
    assert scene.proxy is not None
    scene.proxy.close()


def registry_slow(scene: Scene, service: str) -> None:
    assert scene.proxy is not None
    scene.proxy.pause_s = 3


def registry_spoils(scene: Scene, service: str) -> None:
    assert scene.proxy is not None
    scene.proxy.spoil_after = 50_000


def name_taken(scene: Scene, service: str) -> None:
    name = scene.names(service)["unique"]
    docker("create", "--name", name, scene.inspect(service)["Image"])
    scene.ends.callback(docker, "rm", "--force", name)


def runs_without_ports(scene: Scene, service: str) -> None:
    found = scene.inspect(service)
    assert found["State"]["Running"]
    assert found["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "0"
    assert "OWN_PORT" not in (scene.stack.directory / ".env").read_text()


def runs_old(scene: Scene, service: str) -> None:
    """The service runs from the image that it ran from before, and the tag means that one again."""
    found = scene.inspect(service)
    assert found["State"]["Running"]
    assert found["Image"] == scene.first_images[service]
    assert scene.client.inspect_image(found["Config"]["Image"])["Id"] == found["Image"]


def stays_new(scene: Scene, service: str) -> None:
    """The old version did not get the files that the new one has had."""
    assert scene.inspect(service)["Image"] != scene.first_images[service]


def runs_new(scene: Scene, service: str) -> None:
    found = scene.inspect(service)
    assert found["State"]["Running"]
    assert found["Image"] != scene.first_images[service]


def has_level(level: str) -> Callable[[Scene, str], None]:
    def left(scene: Scene, service: str) -> None:
        assert f"LEVEL={level}" in scene.inspect(service)["Config"]["Env"]

    return left


def nothing_pulls(scene: Scene, service: str) -> None:
    """No process of compose is left behind."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [
        line for line in lines if scene.stack.name.encode() in line or str(scene.stack.directory).encode() in line
    ]


CASES = [
    Case(
        "nothing-new",
        alone=True,
        image=LASTS,
        service=IMAGE,
        says=(reloads("none", images_pulled=[], pull="always"),),
        peer=Peer(PULL, "Pulled"),
    ),
    Case(
        "tag-moved",
        alone=True,
        image=LASTS,
        service=IMAGE,
        fault=pushed(*LASTS),
        says=(reloads("recreated", rolled_back=False, pull="always"),),
        touches=("containers", "images"),
        left=runs_new,
        peer=Peer("docker compose up -d", "Running", first=True),
    ),
    Case(
        "env-file-changed-since",
        alone=True,
        service="env_file: [own.env]",
        files={"own.env": "LEVEL=info\nOWN_TOKEN={secret}\n"},
        fault=replaced("own.env", "LEVEL=debug\n"),
        says=(reloads("recreated"),),
        touches=("containers",),
        left=has_level("debug"),
        peer=Peer("bash -c 'docker restart -t 0 {container} && docker exec {container} env'", "LEVEL=info", first=True),
    ),
    Case(
        "image-missing-in-registry",
        alone=True,
        later="image: '{image}-gone'",
        image=LASTS,
        service=IMAGE,
        says=(reloads("none", "pull_failed", message=Has("not found|unknown"), pull="always"),),
        peer=Peer(PULL, "not found", rc=18),
    ),
    Case(
        "registry-down",
        alone=True,
        image=LASTS,
        service=IMAGE,
        fault=registry_down,
        says=(reloads("none", "pull_failed", message=Has("connection refused"), pull="always"),),
        peer=Peer(PULL, "connection refused", rc=18),
    ),
    Case(
        "registry-slow",
        alone=True,
        image=LASTS,
        service=IMAGE,
        fault=pushed(*LARGE, then=registry_slow),
        says=(reloads("none", "timed_out", status="timed_out", timeout_s=8, pull="always"),),
        left=nothing_pulls,
        peer=Peer(f"timeout -s INT 3 {PULL}", "Pulling", rc=124, shown="Pulling, for as long as it takes"),
    ),
    Case(
        "registry-spoils-a-layer",
        alone=True,
        image=LASTS,
        service=IMAGE,
        fault=pushed(*LARGE, then=registry_spoils),
        says=(reloads("none", "pull_failed", message=Has("verification failed"), pull="always"),),
        left=runs_old,
        peer=Peer(PULL, "verification failed", rc=18),
    ),
    Case(
        "new-version-crashes",
        alone=True,
        image=LASTS,
        service=f"{IMAGE}, restart: always",
        fault=pushed(*CRASHES),
        says=(reloads("recreated", "not_ready", rolled_back=True, pull="always", payload={"wait_timeout_s": 12}),),
        touches=("containers", "images"),
        left=runs_old,
        peer=Peer(PULL_AND_UP, "Healthy"),
    ),
    Case(
        "new-version-is-unhealthy",
        alone=True,
        image=("HEALTHCHECK --interval=0.5s --retries=2 CMD true", *LASTS),
        service=IMAGE,
        fault=pushed("HEALTHCHECK --interval=0.5s --retries=2 CMD false", *LASTS),
        says=(reloads("recreated", "not_ready", rolled_back=True, pull="always", payload={"wait_timeout_s": 12}),),
        touches=("containers", "images"),
        left=runs_old,
        peer=Peer("bash -c 'docker compose pull -q; docker compose up -d'", "Started"),
    ),
    Case(
        "database-converted-by-new-version",
        alone=True,
        image=("ENV MARIADB_VERSION=10.11.2", *LASTS),
        service=f"{IMAGE}, volumes: ['files:/var/lib/mysql']",
        volumes=("files",),
        fault=pushed("ENV MARIADB_VERSION=11.2.3", *CRASHES),
        says=(
            reloads(
                "recreated",
                "rollback_refused",
                rolled_back=False,
                message=Has("mariadb 10.11.*mariadb 11.2"),
                pull="always",
            ),
        ),
        touches=("containers", "images"),
        left=stays_new,
        peer=Peer("docker compose ps --services", r"\A(?!.*database)", shown="no line, no error"),
    ),
    Case(
        "port-taken-by-hand-made-change",
        alone=True,
        later="ports: ['127.0.0.1:{taken}:80']",
        says=(reloads("recreated", "rollback_failed", rolled_back=False, message=Has("already (in use|allocated)")),),
        touches=("containers",),
        peer=Peer("docker compose up -d", "already (in use|allocated)", rc=1, shown="port in use"),
    ),
    Case(
        "port-taken-by-composite",
        alone=True,
        service="ports: ['127.0.0.1:${OWN_PORT:-0}:80']",
        says=(
            composes(
                {"type": "ENV_UPDATE", "payload": {"path": "{dir}/.env", "set": {"OWN_PORT": "{taken}"}}},
                {"type": "DOCKER_RELOAD", "payload": {"stack": "{dir}", "pull": "never", "stable_s": 1}},
                expected=["rolled_back", "failed"],
            ),
        ),
        touches=("containers", "files"),
        left=runs_without_ports,
        peer=Peer("docker compose up -d", "Running"),
    ),
    Case(
        "name-taken",
        alone=True,
        later="container_name: '{unique}'",
        fault=name_taken,
        says=(reloads("recreated", "up_failed", rolled_back=True, message=Has("already in use")),),
        touches=("containers",),
        peer=Peer("docker compose up -d", "Running"),
    ),
    Case(
        "one-shot-has-run",
        alone=True,
        service="command: ['true']",
        until=status("exited"),
        says=(reloads("none"),),
        peer=Peer("docker compose up -d --wait", r"exited \(0\)", rc=1),
    ),
    Case(
        "one-shot-fails",
        alone=True,
        service="command: ['true']",
        until=status("exited"),
        later="command: ['false']",
        says=(reloads("recreated", "rollback_failed", rolled_back=False, message=Has("exit code 1|exited with 1")),),
        touches=("containers",),
        peer=Peer("docker compose up -d", "Started"),
    ),
    Case(
        "orphan-left-behind",
        alone=True,
        later=None,
        says=(reloads("removed", payload={"remove_orphans": True}),),
        touches=("containers",),
        peer=Peer("docker compose up -d", "Found orphan containers", first=True),
    ),
    Case(
        "compose-file-broken",
        alone=True,
        later="comand: [sleep]",
        says=(reloads(None, "compose_invalid", message=Has("comand")),),
        peer=Peer("docker compose ps", "comand", rc=15),
    ),
    Case(
        "secret-in-compose-s-words",
        alone=True,
        later="ports: ['${DB_PASSWORD}:80']",
        says=(reloads(None, "compose_invalid", message=Has("redacted")),),
        peer=Peer("docker compose config -q", "S3cret-interpolated", rc=15, shown="the secret"),
    ),
    Case(
        "variable-unset",
        alone=True,
        later="command: [sleep, '${NOT_SET:?say how long}']",
        says=(reloads(None, "compose_invalid", message=Has("say how long")),),
        peer=Peer("docker compose config -q", "say how long", rc=15),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reload_ends_as_promised(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
