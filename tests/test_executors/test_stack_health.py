"""STACK_HEALTH: nothing to say of an untouched stack, and every change made by hand is found; on the real engine."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from letsbe.cli.draw_stack_health import draw
from tests.agents import Agent, tree
from tests.engine import IMAGE, Stack, docker

SECRET = "H3alth-S3cret-value"
#: A network of its own for each run: others test on this engine too.
SUBNET = f"10.{random.randrange(100, 250)}.{random.randrange(250)}"

COMPOSE = """
x-base: &base {image: "{tag}", stop_grace_period: 0s, command: [sleep, "1000"]}
services:
  web:
    <<: *base
    env_file: app.env
    environment: {PLAIN: one, EMPTY: "", PASSED: , "DOLLARS": "a$$b $${C} ${FROM_ENV}", DB_PASSWORD: "${DB_PASSWORD}"}
    labels: ["a.label=one", "b.label=x=y"]
    ports: ["127.0.0.1::80", {target: 53, protocol: udp, host_ip: 127.0.0.1}, "127.0.0.1:{port}-{port2}:81-82"]
    expose: ["3000-3002", "9999/udp"]
    volumes:
      - data:/data
      - ./site.conf:/etc/site.conf:ro
      - /anonymous
      - {type: bind, source: ./site/, target: /site/}
    configs: [conf, {source: conf, target: /etc/other}]
    secrets: [token, {source: token, target: named, mode: 0400}]
    networks: {back: {aliases: [www, shop], ipv4_address: {subnet}.10}, default: }
    healthcheck: {test: "exit 0", interval: 1m30s, timeout: 500ms, start_period: 5s, retries: 4}
    restart: on-failure:3
    depends_on: {once: {condition: service_completed_successfully}}
  limits:
    <<: *base
    deploy: {resources: {limits: {memory: 50m, cpus: "0.50", pids: 33}, reservations: {memory: 20M}}}
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}
    sysctls: {net.core.somaxconn: 1024}
    tmpfs: ["/tmp:size=1m,mode=1777", /run]
    volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]
    init: true
    cap_drop: [NET_RAW]
    group_add: ["5"]
    read_only: true
    working_dir: /tmp
    user: "5:5"
    hostname: named
    domainname: example.test
    extra_hosts: ["one:192.0.2.1", "six:2001:db8::1"]
    dns: 192.0.2.53
    dns_search: [example.test]
    stop_signal: SIGINT
    security_opt: ["no-new-privileges:true"]
    logging: {driver: json-file, options: {max-size: 1m}}
    shm_size: 70m
    oom_score_adj: 100
    cpu_shares: 512
    tty: true
    stdin_open: true
    devices: ["/dev/null:/dev/mynull:r"]
  old-limits: {<<: *base, mem_limit: 30m, memswap_limit: 60m, cpus: 0.25, pids_limit: 20, restart: always}
  two: {<<: *base, scale: 2, stop_signal: SIGKILL}
  replicas: {<<: *base, deploy: {replicas: 2, restart_policy: {condition: on-failure, max_attempts: 2}}}
  none: {<<: *base, scale: 0}
  sidecar: {<<: *base, network_mode: "service:web", pid: "service:web", volumes_from: ["web:ro"]}
  apart: {<<: *base, network_mode: none, entrypoint: ["/bin/busybox", sleep], command: "1000"}
  script: {<<: *base, entrypoint: sh -c, command: ["sleep 1000; echo 'a b' $$HOME"]}
  built: {image: "{built}", stop_grace_period: 0s, environment: {ADDED: "1"}, volumes: ["data:/declared"]}
  bare:
    image: "{built}"
    stop_grace_period: 0s
    entrypoint: []
    command: [sleep, "1000"]
    healthcheck: {disable: true}
  "{project}-own":
    image: "{built}"
    container_name: "{project}-own"
    stop_grace_period: 0s
    tmpfs: [/declared]
    working_dir: /srv/
    security_opt: ["systempaths=unconfined"]
    cpus: 1.35
    depends_on: {off: {condition: service_started, required: false}}
  beside:
    <<: *base
    network_mode: "container:{project}-own"
    pid: "container:{project}-own"
    depends_on: ["{project}-own"]
  extended: {extends: {file: base.yaml, service: base}, labels: {own: "1"}}
  once: {<<: *base, command: ["true"]}
  debug: {<<: *base, profiles: [debug]}
  off: {<<: *base, profiles: [off]}
  target: {<<: *base, networks: [back], restart: unless-stopped}
  stopped: *base
  paused: *base
  removed: {<<: *base, volumes: ["own:/own"], networks: [lonely]}
  orphaned: *base
networks: {back: {ipam: {config: [{subnet: {subnet}.0/24}]}}, lonely: }
volumes: {data: , own: , extra: {name: "{project}-named"}}
configs: {conf: {file: ./conf}}
secrets: {token: {file: ./token}}
"""
FILES = {
    "compose.override.yaml": "services: {web: {environment: {OVERRIDE: 'yes'}, labels: {c.label: added}}}\n",
    "base.yaml": """services:
  base: {image: "${TAG}", command: sleep 1000, stop_grace_period: 0s, environment: {B: "2"}}
""",
    ".env": f"FROM_ENV=here\nDB_PASSWORD={SECRET}\nCOMPOSE_PROFILES=debug\n",
    "app.env": f"APP_TOKEN={SECRET}-2\nAPP_MODE='with # and $dollar'\n",
    "site.conf": "one\n",
    "site/index.html": "one\n",
    "conf": "one\n",
    "token": "x\n",
    "Dockerfile": """FROM {IMAGE}
ENV FROM_IMAGE=yes PATH=/bin
LABEL of.image=yes
EXPOSE 8080 9000/udp
VOLUME /declared /undeclared
USER 7
WORKDIR /srv
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=20s CMD true
ENTRYPOINT ["sleep"]
CMD ["1000"]
""",
}
"""Images with a default for everything that an image can bring."""


class Shop:
    """The stack that all tests share; whoever changes it puts it back."""

    def __init__(self, agent: Agent, stack: Stack) -> None:
        self.agent, self.stack = agent, stack

    def health(self, **payload: Any) -> dict[str, Any]:
        outcome = self.agent.run("STACK_HEALTH", {"stack": str(self.stack.directory), **payload})
        assert outcome.error is None, outcome.error
        assert not outcome.changed
        assert SECRET not in repr(outcome)
        return outcome.data

    def drift(self) -> set[tuple[str, str]]:
        return {(one["service"], one["field"]) for one in self.health()["drift"]}


@pytest.fixture(scope="module")
def shop(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    agent = Agent(tmp_path_factory.mktemp("health"))
    name = agent.root / "shop"
    port = random.randrange(20_000, 30_000)
    stack = Stack(name, "services: {}", FILES)
    tag, built = f"lt/{stack.name}:1", f"lt/{stack.name}:built"
    words = {"tag": tag, "built": built, "subnet": SUBNET, "port": port, "port2": port + 1, "project": stack.name}
    text = COMPOSE
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", str(value))
    stack.write("compose.yaml", f"name: {stack.name}\n{text}")
    stack.write(".env", f"{FILES['.env']}TAG={tag}\n")
    stack.write("Dockerfile", FILES["Dockerfile"].replace("{IMAGE}", IMAGE))
    docker("tag", IMAGE, tag)
    docker("build", "-q", "-t", built, str(name))
    try:
        stack.compose("up", "-d")
        yield Shop(agent, stack)
    finally:
        stack.compose("--profile", "*", "down", "-t", "0", "-v", "--remove-orphans", check=False)
        docker("rmi", "-f", tag, built, check=False)


@pytest.fixture(autouse=True)
def _put_back(shop: Shop) -> Iterator[None]:
    """Files as they were, byte for byte; the containers are the tests' own affair."""
    before = {path: path.read_bytes() for path in shop.stack.directory.iterdir() if path.is_file()}
    yield
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def test_an_untouched_stack_has_no_drift(shop: Shop) -> None:
    files = tree(shop.stack.directory)
    data = shop.health()
    assert data["drift"] == []
    assert data["reasons"] == []
    assert data["verdict"] == "ok"
    assert len(data["running"]) == sum(one["scale"] for one in data["declared"] if one["active"]) - 1
    assert data["done"] == [shop.stack.container("once")]
    assert {one["service"] for one in data["declared"] if not one["active"]} == {"off"}
    assert tree(shop.stack.directory) == files
    assert shop.health(deep=False)["verdict"] == "ok"


#: File, text in it, text instead, and the fields that differ then.
Edit = tuple[str, str, str, set[tuple[str, str]]]
EDITS: list[Edit] = [
    ("compose.yaml", "a.label=one", "a.label=two", {("web", "labels.a.label")}),
    ("compose.yaml", '"b.label=x=y"', '"new.label=1"', {("web", "labels.b.label"), ("web", "labels.new.label")}),
    ("compose.yaml", "PLAIN: one", "PLAIN: two", {("web", "environment.PLAIN")}),
    ("compose.yaml", "PLAIN: one, ", "", {("web", "environment.PLAIN")}),
    ("app.env", "with #", "without #", {("web", "environment.APP_MODE")}),
    ("app.env", f"{SECRET}-2", f"{SECRET}-3", {("web", "environment.APP_TOKEN")}),
    (".env", "FROM_ENV=here", "FROM_ENV=there", {("web", "environment.DOLLARS")}),
    ("compose.override.yaml", "added", "other", {("web", "labels.c.label")}),
    ("base.yaml", "sleep 1000", "sleep 999", {("extended", "command")}),
    ("compose.yaml", "sh -c, command", "sh -ec, command", {("script", "entrypoint")}),
    ("compose.yaml", "127.0.0.1::80", "127.0.0.2::80", {("web", "ports.80/tcp")}),
    ("compose.yaml", '"127.0.0.1::80", ', "", {("web", "ports.80/tcp"), ("web", "expose.80/tcp")}),
    (
        "compose.yaml",
        "target: 53,",
        "target: 54,",
        {("web", f"{kind}.{port}/udp") for kind in ("ports", "expose") for port in (53, 54)},
    ),
    ("compose.yaml", "3000-3002", "3000-3003", {("web", "expose.3003/tcp")}),
    ("compose.yaml", "site.conf:ro", "site.conf", {("web", "mounts./etc/site.conf")}),
    ("compose.yaml", "data:/data", "extra:/data", {("web", "mounts./data"), ("sidecar", "mounts./data")}),
    ("compose.yaml", "      - /anonymous\n", "", {("web", "mounts./anonymous"), ("sidecar", "mounts./anonymous")}),
    (
        "compose.yaml",
        "target: /etc/other",
        "target: /etc/moved",
        {(name, f"mounts./etc/{path}") for name in ("web", "sidecar") for path in ("moved", "other")},
    ),
    ("compose.yaml", "/tmp:size=1m", "/tmp:size=2m", {("limits", "tmpfs./tmp")}),
    ("compose.yaml", "aliases: [www, shop]", "aliases: [www]", {("web", "networks.{project}_back.aliases.shop")}),
    ("compose.yaml", f"{SUBNET}.10", f"{SUBNET}.11", {("web", "networks.{project}_back.ipv4_address")}),
    (
        "compose.yaml",
        f"{SUBNET}.10}}, default: }}",
        f"{SUBNET}.10}}}}",
        {("web", "networks.{project}_default"), ("web", "networks.{project}_default.aliases.web")},
    ),
    ("compose.yaml", "on-failure:3", "on-failure:4", {("web", "restart")}),
    ("compose.yaml", "max_attempts: 2", "max_attempts: 3", {("replicas", "restart")}),
    ("compose.yaml", "memory: 50m", "memory: 51m", {("limits", "memory")}),
    ("compose.yaml", 'cpus: "0.50"', 'cpus: "0.75"', {("limits", "cpus")}),
    ("compose.yaml", "pids: 33", "pids: 34", {("limits", "pids")}),
    ("compose.yaml", "memory: 20M", "memory: 21M", {("limits", "memory_reservation")}),
    ("compose.yaml", "mem_limit: 30m", "mem_limit: 40m", {("old-limits", "memory")}),
    ("compose.yaml", "memswap_limit: 60m", "memswap_limit: 70m", {("old-limits", "memory_swap")}),
    ("compose.yaml", 'user: "5:5"', 'user: "5:6"', {("limits", "user")}),
    ("compose.yaml", "cap_drop: [NET_RAW]", "cap_drop: [CAP_NET_RAW, MKNOD]", {("limits", "cap_drop.MKNOD")}),
    ("compose.yaml", "hard: 200", "hard: 300", {("limits", "ulimits.nofile")}),
    ("compose.yaml", "somaxconn: 1024", "somaxconn: 1025", {("limits", "sysctls.net.core.somaxconn")}),
    ("compose.yaml", "init: true", "init: false", {("limits", "init")}),
    ("compose.yaml", "read_only: true", "read_only: false", {("limits", "read_only")}),
    ("compose.yaml", "    tty: true\n", "", {("limits", "tty")}),
    ("compose.yaml", "working_dir: /tmp", "working_dir: /", {("limits", "working_dir")}),
    ("compose.yaml", "hostname: named", "hostname: other", {("limits", "hostname")}),
    (
        "compose.yaml",
        "one:192.0.2.1",
        "one:192.0.2.2",
        {("limits", f"extra_hosts.one=192.0.2.{n}") for n in (1, 2)},
    ),
    ("compose.yaml", "dns: 192.0.2.53", "dns: [192.0.2.53, 192.0.2.54]", {("limits", "dns")}),
    ("compose.yaml", "SIGINT", "SIGTERM", {("limits", "stop_signal")}),
    (
        "compose.yaml",
        "no-new-privileges:true",
        "apparmor=x",
        {("limits", f"security_opt.{one}") for one in ("apparmor=x", "no-new-privileges")},
    ),
    ("compose.yaml", "max-size: 1m", "max-size: 2m", {("limits", "logging.max-size")}),
    ("compose.yaml", "shm_size: 70m", "shm_size: 71m", {("limits", "shm_size")}),
    ("compose.yaml", "/dev/mynull:r", "/dev/mynull:rw", {("limits", "devices./dev/mynull")}),
    ("compose.yaml", "timeout: 500ms", "timeout: 0.6s", {("web", "healthcheck.timeout")}),
    ("compose.yaml", "exit 0", "exit 1", {("web", "healthcheck.test")}),
    (
        "compose.yaml",
        "healthcheck: {disable: true}",
        "privileged: true",
        {("bare", "privileged"), ("bare", "healthcheck.test"), ("bare", "healthcheck.interval")},
    ),
    ("compose.yaml", "network_mode: none", "network_mode: host", {("apart", "network_mode")}),
    ("compose.yaml", ', pid: "service:web"', "", {("sidecar", "pid")}),
    ("compose.yaml", "{<<: *base, scale: 2,", "{<<: *base, scale: 1,", {("two", "scale")}),
    ("compose.yaml", "two: {<<: *base,", 'two: {<<: *base, image: "x:9",', {("two", "image")}),
]


class Rounds:
    """Edits that don't meet are made together: a look at the stack takes longer than all comparisons."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._rounds: list[list[Edit]] = []
        self._found: dict[int, set[tuple[str, str]]] = {}
        for edit in EDITS:
            fits = [one for one in self._rounds if self._edited([*one, edit])]
            fits[0].append(edit) if fits else self._rounds.append([edit])

    def drift_beside(self, edit: Edit) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """What is found of the edit, and what nobody in its round has caused."""
        number = next(n for n, one in enumerate(self._rounds) if edit in one)
        if number not in self._found:
            self._found[number] = self._look(self._rounds[number])
        expected = set().union(*(self.fields(one) for one in self._rounds[number]))
        return self._found[number] & self.fields(edit), self._found[number] - expected

    def fields(self, edit: Edit) -> set[tuple[str, str]]:
        return {(service, field.replace("{project}", self._shop.stack.name)) for service, field in edit[3]}

    def _look(self, edits: list[Edit]) -> set[tuple[str, str]]:
        texts = self._edited(edits)
        assert texts
        before = {name: (self._shop.stack.directory / name).read_text() for name in texts}
        try:
            for name, text in texts.items():
                self._shop.stack.write(name, text)
            return self._shop.drift()
        finally:
            for name, text in before.items():
                self._shop.stack.write(name, text)

    def _edited(self, edits: list[Edit]) -> dict[str, str] | None:
        """The files with all edits made; None when one is in another's way."""
        texts = {edit[0]: (self._shop.stack.directory / edit[0]).read_text() for edit in edits}
        fields = [field for edit in edits for field in edit[3]]
        for name, old, new, _ in edits:
            if texts[name].count(old) != 1 or len(set(fields)) != len(fields):
                return None
            texts[name] = texts[name].replace(old, new)
        return texts


@pytest.fixture(scope="module")
def rounds(shop: Shop) -> Rounds:
    return Rounds(shop)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit[1][:30]} -> {edit[2][:30]}".replace(SUBNET, "x"))
def test_a_change_of_the_files_is_found(rounds: Rounds, edit: Edit) -> None:
    assert rounds.drift_beside(edit) == (rounds.fields(edit), set())


def test_a_renamed_project_is_found(shop: Shop) -> None:
    stack = shop.stack
    stack.write(
        "compose.yaml", (stack.directory / "compose.yaml").read_text().replace(stack.name, f"{stack.name}-x", 1)
    )
    by_directory = shop.health()
    assert [one["project"] for one in by_directory["renamed"]] == [stack.name]
    assert stack.container("web") in by_directory["renamed"][0]["containers"]
    assert by_directory["verdict"] == "fail"
    assert {one["service"] for one in by_directory["missing"]} >= {"web", "two"}
    by_name = shop.health(stack=stack.name)
    assert by_name["verdict"] == "warn"
    assert f"{stack.name}-x" in by_name["reasons"][-1]


def test_an_image_whose_name_was_given_away_is_found(shop: Shop) -> None:
    name = f"lt/{shop.stack.name}:1"
    before = json.loads(docker("image", "inspect", name))[0]["Id"]
    docker("tag", f"lt/{shop.stack.name}:built", name)
    try:
        data = shop.health()
    finally:
        docker("tag", before, name)
    assert data["verdict"] == "warn"
    assert data["drift"] == []  # the container is compared with its own image's defaults
    outdated = {one["service"]: one for one in data["images_outdated"]}
    of_another_image = {"built", "bare", f"{shop.stack.name}-own"}
    running = {one["service"] for one in data["declared"] if one["running"]}
    assert set(outdated) == running - of_another_image | {"once"}
    assert outdated["web"]["actual"] == before != outdated["web"]["local"]


@pytest.fixture(scope="module")
def touched(shop: Shop) -> dict[str, Any]:
    """What is found after all that hands do to containers; the last that is done to the stack."""
    stack, name = shop.stack, shop.stack.container
    docker("update", "--restart", "no", name("target"))
    docker("network", "disconnect", f"{stack.name}_back", name("target"))
    docker("update", "--memory", "40m", "--memory-swap", "80m", name("old-limits"))
    docker("network", "disconnect", f"{stack.name}_default", name("two"))
    docker("network", "connect", "--alias", "odd", f"{stack.name}_default", name("two"))
    fresh = stack.write("site.conf.new", "two\n")
    fresh.rename(stack.directory / "site.conf")
    stack.write("token", "written in place\n")
    docker("stop", "-t", "0", name("stopped"))
    docker("pause", name("paused"))
    docker("rm", "-f", name("removed"), name("replicas", 2))
    docker("volume", "rm", f"{stack.name}_own")
    docker("network", "rm", f"{stack.name}_lonely")
    stack.write("compose.yaml", (stack.directory / "compose.yaml").read_text().replace("  orphaned: *base\n", ""))
    return shop.health()


@pytest.mark.parametrize(
    ("list_of", "found"),
    [
        ("missing", [("removed", 1, 0), ("replicas", 2, 1)]),
        ("stopped", [("stopped", "{name}-stopped-1", "exited", 137)]),
        ("paused", "{name}-paused-1"),
        ("orphans", [("orphaned", "{name}-orphaned-1", "running", None)]),
        ("volumes_missing", "{name}_own"),
        ("networks_missing", "{name}_lonely"),
        (
            "drift",
            {
                ("target", "restart", "unless-stopped", None),
                ("target", "networks.{name}_back", "attached", None),
                ("target", "networks.{name}_back.aliases.target", "target", None),
                ("old-limits", "memory", "31457280", "41943040"),
                ("old-limits", "memory_swap", "62914560", "83886080"),
                ("two", "networks.{name}_default.aliases.odd", None, "odd"),
                ("two", "networks.{name}_default.aliases.two", "two", None),
            },
        ),
    ],
)
def test_what_hands_did_is_found(shop: Shop, touched: dict[str, Any], list_of: str, found: Any) -> None:
    wanted = json.loads(
        json.dumps(sorted(found) if isinstance(found, set) else found).replace("{name}", shop.stack.name)
    )
    got = touched[list_of]
    if list_of == "drift":
        keys = ("service", "field", "declared", "actual")
        got = [[one[key] for key in keys] for one in got if not one["field"].startswith("mounts.")]
        assert sorted(got, key=str) == sorted(wanted, key=str)
    elif isinstance(wanted, str):
        assert got == [wanted]
    else:
        assert [list(one.values()) for one in got] == wanted


def test_a_file_that_was_replaced_is_found_and_one_written_in_place_is_none(touched: dict[str, Any]) -> None:
    mounts = {(one["service"], one["field"]): one for one in touched["drift"] if one["field"].startswith("mounts.")}
    assert set(mounts) == {("web", "mounts./etc/site.conf")}
    assert "replaced" in mounts["web", "mounts./etc/site.conf"]["actual"]


def test_what_does_not_run_weighs_more_than_what_runs_otherwise(touched: dict[str, Any]) -> None:
    assert touched["verdict"] == "fail"
    assert touched["reasons"][0] == "removed: 0 of 1 containers are there"
    assert touched["reasons"][-1].endswith("-orphaned-1 belongs to no declared service")


def test_a_person_sees_the_worst_first(touched: dict[str, Any]) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(draw(touched))
    text = console.export_text()
    order = ["fail", "removed is missing", "-stopped-1 is exited with 137", "-paused-1 is paused", "volume", "network"]
    order += ["no service declares it", "differs from what is declared", "31457280"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "1 services are off by their profile" not in text
    assert "1 service is off by its profile" in text
