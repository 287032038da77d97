"""Which services an env file reaches; compose itself is the oracle."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from letsbe.tools.compose import RunningContainer, parse_running, running_argv, validate_argv
from letsbe.tools.compose_find import stacks_using
from letsbe.tools.compose_load import read_stack
from letsbe.tools.compose_stack import Stack
from letsbe.tools.dotenv import parse
from letsbe.tools.dotenv_edit import edit
from tests.env_oracles import CLEAN
from tests.stack_trees import DiskTree, plant

CORPUS = Path("../shared/corpora/compose")

RICH = {
    "compose.yaml": """
name: rich
include:
  - path: sub/inner.yaml
x-shared: &shared
  labels: ["tier=${TIER}"]
services:
  named: {image: "x:${TAG:-1}"}
  braced: {image: x, command: "run ${FLAGS} $$NOT"}
  nested: {image: x, environment: {A: "${OUTER:-${INNER}}"}}
  passed: {image: x, environment: [PASSED, "B=${B_VALUE}"]}
  mapped: {image: x, environment: {MAPPED: }}
  file: {image: x, env_file: app.env}
  files: {image: x, env_file: [{path: ./app.env}, {path: missing.env, required: false}]}
  chained: {image: x, env_file: chain.env}
  aliased: {image: x, <<: *shared}
  child: {extends: {service: braced}, image: y}
  foreign: {extends: {file: base/other.yaml, service: parent}}
  built: {build: {context: ., args: [ARG_NAME, "X=${ARG_VALUE}"]}}
  stored: {image: x, volumes: ["data:/d"]}
  secret: {image: x, secrets: [token]}
  untouched: {image: x, environment: {P: "$$TAG"}}
volumes:
  data: {name: "vol-${VOLUME}"}
secrets:
  token: {environment: TOKEN_VALUE}
""",
    "compose.override.yaml": "services: {untouched: {labels: {o: '${OVERRIDE}'}}}\n",
    "base/other.yaml": "services: {parent: {image: 'p:${PARENT_TAG}', env_file: base.env}}\n",
    "base/base.env": "BASE=1\n",
    "sub/inner.yaml": "services: {inner: {image: 'i:${INNER_TAG}', env_file: inner.env}}\n",
    "sub/inner.env": "I=1\n",
    "app.env": "APP=1\n",
    "chain.env": "C=${CHAIN}\nCHAIN_BARE\n",
    ".env": "".join(
        f"{key}=old\n"
        for key in (
            *("TIER", "TAG", "FLAGS", "NOT", "OUTER", "INNER", "PASSED", "B_VALUE", "MAPPED", "CHAIN", "CHAIN_BARE"),
            *("ARG_NAME", "ARG_VALUE", "VOLUME", "TOKEN_VALUE", "OVERRIDE", "PARENT_TAG", "INNER_TAG", "NOBODY"),
        )
    ),
}
AFFECTED_BY = {
    "TIER": {"aliased"},
    "TAG": {"named"},
    "FLAGS": {"braced", "child"},
    "NOT": set(),
    "OUTER": {"nested"},
    "INNER": {"nested"},
    "PASSED": {"passed"},
    "B_VALUE": {"passed"},
    "MAPPED": {"mapped"},
    "CHAIN": {"chained"},
    "CHAIN_BARE": {"chained"},
    "ARG_NAME": {"built"},
    "ARG_VALUE": {"built"},
    "VOLUME": {"stored"},
    "TOKEN_VALUE": {"secret"},
    "OVERRIDE": {"untouched"},
    "PARENT_TAG": {"foreign"},
    "INNER_TAG": {"inner"},
    "NOBODY": set(),
}


def _stack(directory: Path) -> Stack:
    stack = read_stack(str(directory), DiskTree())
    assert stack is not None
    assert stack.problems == []
    return stack


def _config(directory: Path) -> dict[str, Any]:
    argv = ["docker", "compose", "config", "--format", "json"]
    done = subprocess.run(argv, cwd=directory, env=CLEAN, capture_output=True, check=True, timeout=60)
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_a_key_of_the_project_file_affects_the_services_that_name_it(tmp_path: Path) -> None:
    stack = _stack(plant(tmp_path, RICH))
    found = {key: set(stack.affected(str(tmp_path / ".env"), {key})) for key in AFFECTED_BY}
    assert found == AFFECTED_BY
    assert stack.affected(str(tmp_path / ".env"), {"COMPOSE_PROFILES"}) == sorted(s.name for s in stack.services)


def test_an_env_file_affects_the_services_that_read_it(tmp_path: Path) -> None:
    stack = _stack(plant(tmp_path, RICH))
    assert stack.affected(str(tmp_path / "app.env"), {"APP"}) == ["file", "files"]
    assert stack.affected(str(tmp_path / "base/base.env"), {"BASE"}) == ["foreign"]
    assert stack.affected(str(tmp_path / "sub/inner.env"), {"I"}) == ["inner"]
    assert stack.affected(str(tmp_path / "app.env"), set()) == []
    assert not stack.uses(str(tmp_path / "other.env"))


def test_whatever_changes_in_compose_config_was_foreseen(tmp_path: Path) -> None:
    directory = plant(tmp_path, RICH)
    stack = _stack(directory)
    before = _config(directory)
    content = (directory / ".env").read_bytes()
    for key in AFFECTED_BY:
        (directory / ".env").write_bytes(edit(content, {key: "new"}, []).content)
        after = _config(directory)
        differing = {name for name in after if after[name] != before[name]}
        assert differing <= set(stack.affected(str(directory / ".env"), {key})), key
    assert set(before) == {service.name for service in stack.services}


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/.env")), ids=lambda path: path.parent.name)
def test_real_stacks_are_foreseen(path: Path, tmp_path: Path) -> None:
    directory = tmp_path / path.parent.name
    shutil.copytree(path.parent, directory)
    stack = _stack(directory)
    env = directory / ".env"
    keys = list(parse(path.read_bytes()).values)
    before = _config(directory)
    foreseen = stack.affected(str(env), set(keys))
    env.write_bytes(edit(path.read_bytes(), dict.fromkeys(keys, "/other"), []).content)
    after = _config(directory)
    assert sorted(name for name in after if after[name] != before[name]) == foreseen
    assert foreseen


@pytest.mark.parametrize(
    "directory", sorted(path.parent for path in CORPUS.glob("*/*.y*ml")), ids=lambda path: path.name
)
def test_every_real_stack_is_understood(directory: Path) -> None:
    assert _stack(directory).services


def test_compose_file_variable_names_the_files(tmp_path: Path) -> None:
    plant(tmp_path, {".env": "COMPOSE_FILE=a.yml:b/c.yml\nK=1\n", "compose.yaml": "services: {no: {image: '$K'}}"})
    plant(tmp_path, {"a.yml": "services: {a: {image: '$K'}}", "b/c.yml": "services: {c: {image: '$K'}}"})
    assert _stack(tmp_path).affected(str(tmp_path / ".env"), {"K"}) == ["a", "c"]


STACK = "services: {web: {image: x, env_file: ENV_FILE}}\n"


@pytest.mark.parametrize(
    ("env", "files"),
    [
        ("s/.env", {"s/.env": "A=1", "s/docker-compose.yml": "services: {web: {image: x}}"}),
        ("s/app.env", {"s/app.env": "", "s/compose.yaml": STACK.replace("ENV_FILE", "app.env")}),
        ("s/conf/app.env", {"s/conf/app.env": "", "s/compose.yml": STACK.replace("ENV_FILE", "./conf/app.env")}),
        ("env/s.env", {"env/s.env": "", "stacks/s/compose.yaml": STACK.replace("ENV_FILE", "../../env/s.env")}),
        (
            "env/s.env",
            {"env/s.env": "", "stacks/s/.env": "-> ../../env/s.env", "stacks/s/compose.yaml": "services: {}"},
        ),
        ("s/.env", {"env/s.env": "", "s/.env": "-> ../env/s.env", "s/compose.yaml": "services: {}"}),
        ("s/app.env", {"s/app.env": "", "s/.env": "E=app", "s/compose.yaml": STACK.replace("ENV_FILE", "'${E}.env'")}),
    ],
    ids=["project", "beside", "below", "elsewhere", "symlink_from_stack", "given_as_symlink", "interpolated"],
)
def test_the_stack_of_an_env_file_is_found(env: str, files: dict[str, str], tmp_path: Path) -> None:
    plant(tmp_path, {**files, "other/compose.yaml": "services: {no: {image: x}}", "other/.env": "A=1"})
    (stack,) = stacks_using(str(tmp_path / env), str(tmp_path), DiskTree())
    assert Path(stack.directory).name == "s"


def test_a_file_of_no_stack_belongs_to_none(tmp_path: Path) -> None:
    plant(tmp_path, {"s/x.env": "", "s/compose.yaml": STACK.replace("ENV_FILE", "y.env"), "s/y.env": ""})
    assert stacks_using(str(tmp_path / "s/x.env"), str(tmp_path), DiskTree()) == []


def test_looking_does_not_go_on_for_ever(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"d{number:03}").mkdir()
    plant(tmp_path, {"a/b/c/d/compose.yaml": STACK.replace("ENV_FILE", "/x.env")})
    tree = DiskTree()
    assert stacks_using(str(tmp_path / ".env"), str(tmp_path), tree) == []
    assert len(tree.was_read) < 50


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("services: ]", "line 1"),
        ("- a\n", "not a map"),
        ("a: b\n\tc: d\n", "line 2"),
        ("a: 2026-99-99\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_compose_file_is_told_of(text: str, says: str, tmp_path: Path) -> None:
    plant(tmp_path, {"compose.yaml": text})
    stack = read_stack(str(tmp_path), DiskTree())
    assert stack is not None
    (problem,) = stack.problems
    assert problem.startswith(f"{tmp_path}/compose.yaml: ")
    assert says in problem


def test_hostile_yaml_costs_little(tmp_path: Path) -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    plant(tmp_path, {"compose.yaml": bomb + "services: {s: {image: x, labels: *j}}\nx-loop: &l {l: *l}\n"})
    assert _stack(tmp_path).services[0].name == "s"


def test_tags_of_compose_are_understood(tmp_path: Path) -> None:
    plant(tmp_path, {"compose.yaml": "services: {s: {image: '$K', ports: !reset [], labels: !override {a: '$L'}}}\n"})
    assert _stack(tmp_path).affected(str(tmp_path / ".env"), {"L"}) == ["s"]


def test_a_circle_of_files_ends(tmp_path: Path) -> None:
    plant(tmp_path, {"compose.yaml": "include: [a.yaml]\nservices: {s: {extends: {service: t}}, t: {extends: s}}\n"})
    plant(tmp_path, {"a.yaml": "include: [compose.yaml, a.yaml]\nservices: {u: {image: '$K'}}\n"})
    assert {service.name for service in _stack(tmp_path).services} == {"s", "t", "u"}


def test_argv() -> None:
    assert validate_argv("/usr/bin/docker") == ["/usr/bin/docker", "compose", "--ansi", "never", "config", "--quiet"]
    assert running_argv("/usr/bin/docker", "/opt/s")[1:5] == [
        "ps",
        "--no-trunc",
        "--filter",
        "label=com.docker.compose.project.working_dir=/opt/s",
    ]


def test_running_containers_are_parsed() -> None:
    output = b"web\t2026-11-24 02:31:32 +0000 UTC\n\t2026-11-24 02:31:32 +0000 UTC\ndb\t2026-11-24 04:31:33 +0200 EET\n"
    assert parse_running(output) == [
        RunningContainer(service="web", created=1795487492.0),
        RunningContainer(service="db", created=1795487493.0),
    ]
