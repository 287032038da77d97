"""What compose resolves a stack to; compose itself makes the output."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from letsbe.tools.compose import stack_argv
from letsbe.tools.compose_model import ComposeModel, config_argv, parse_config
from tests.stack_trees import plant

RICH = {
    "compose.yaml": """
name: rich
x-base: &base {image: "x:1", environment: {A: "a$$b"}}
services:
  plain:
    <<: *base
    labels: {"k$$": "v$$"}
    networks: [back, default]
    depends_on: {built: {condition: service_healthy}}
  built: {build: .}
  tagged: {build: ., image: "x:2", secrets: [one]}
  scaled: {<<: *base, scale: 3}
  replicated: {<<: *base, deploy: {replicas: 0}}
  debug: {<<: *base, profiles: [debug, all], env_file: app.env, environment: {UNSET: , SET: }}
networks: {back: {name: other}, outside: {external: true}}
volumes: {data: {}, nfs: {external: true, name: shared}}
secrets: {one: {file: ./app.env}}
""",
    "app.env": "FROM_FILE=yes$$no\n",
    ".env": "SET=here\n",
}


def resolved(where: Path, **options: object) -> ComposeModel:
    argv = config_argv(stack_argv("docker", **options))  # type: ignore[arg-type]
    done = subprocess.run(argv, cwd=where, capture_output=True, check=True, env=os.environ)
    return parse_config(done.stdout)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> ComposeModel:
    return resolved(plant(tmp_path_factory.mktemp("rich"), RICH))


def test_services_of_all_profiles_are_there(rich: ComposeModel) -> None:
    assert sorted(rich.services) == ["built", "debug", "plain", "replicated", "scaled", "tagged"]
    assert {one.name for one in rich.active(())} == set(rich.services) - {"debug"}
    assert {one.name for one in rich.active(["all"])} == set(rich.services)
    assert {one.name for one in rich.active(["*"])} == set(rich.services)


def test_dollars_are_those_that_the_container_gets(rich: ComposeModel) -> None:
    assert rich.services["plain"].environment == {"A": "a$b"}
    assert rich.services["plain"].definition["labels"] == {"k$$": "v$"}


def test_environment_is_merged(rich: ComposeModel) -> None:
    found = rich.services["debug"].environment
    assert found["FROM_FILE"] == "yes$no"
    assert (found["SET"], found["UNSET"]) == ("here", None)


def test_images_scale_and_order_are_named(rich: ComposeModel) -> None:
    services = rich.services
    assert {name: services[name].image for name in ("plain", "built", "tagged")} == {
        "plain": "x:1",
        "built": "rich-built",
        "tagged": "x:2",
    }
    assert [services[name].builds for name in ("plain", "built", "tagged")] == [False, True, True]
    assert [services[name].scale for name in ("plain", "scaled", "replicated")] == [1, 3, 0]
    assert services["plain"].depends_on == {"built": "service_healthy"}


def test_resources_have_the_names_that_the_engine_knows(rich: ComposeModel) -> None:
    assert {key: one.name for key, one in rich.of_kind("networks").items()} == {
        "back": "other",
        "default": "rich_default",
    }
    assert rich.of_kind("secrets")["one"].definition["file"].endswith("/app.env")


def test_files_project_and_env_files_can_be_given(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "s/base.yaml": "services: {one: {image: 'x:${TAG}'}}",
            "s/more.yaml": "services: {one: {environment: {MORE: '1'}}}",
            "given.env": "TAG=7\n",
        },
    )
    found = resolved(
        tmp_path,
        directory=str(tmp_path / "s"),
        files=[str(tmp_path / "s/base.yaml"), str(tmp_path / "s/more.yaml")],
        env_files=[str(tmp_path / "given.env")],
        project="mine",
    )
    assert found.project == "mine"
    assert (found.services["one"].image, found.services["one"].environment) == ("x:7", {"MORE": "1"})


@pytest.mark.parametrize(
    "output", [b"", b"null", b"[]", b'{"services": {}}', b'{"name": "x", "services": ["y"]}'], ids=str
)
def test_other_output_is_refused_without_quoting_it(output: bytes) -> None:
    with pytest.raises(ValueError, match="printed no configuration"):
        parse_config(output)
