"""Finding stacks by directory and by project, on the real engine and with the real compose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.executors.stack_config import declared
from letsbe.executors.stack_secrets import meet_in_containers
from letsbe.executors.stack_source import StackSource
from letsbe.host import Host
from letsbe.host.clock import Deadline
from letsbe.host.docker import Engine
from letsbe.host.files import Files
from letsbe.host.processes import Processes
from letsbe.tools.redaction import Redactor
from tests.engine import IMAGE, Stack, docker
from tests.stack_trees import plant

ONE = f'services: {{one: {{image: "{IMAGE}", command: sleep 1000, stop_grace_period: 0s}}}}\n'


def context(root: Path) -> Context:
    host = Host(
        files=Files([str(root)]),
        processes=Processes(),
        engine=Engine(),
        deadline=Deadline(60),
        progress=lambda *_: None,
    )
    return Context(host=host, redactor=Redactor(), rights=None, steps=None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def up(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that was brought up with files, project and env file given."""
    stack = Stack(tmp_path_factory.mktemp("root") / "shop", ONE, {"given.env": "TAG=7\nCOMPOSE_PROFILES=a, b\n"})
    (stack.directory / "compose.yaml").rename(stack.directory / "base.yaml")
    stack.write("more.yaml", 'services: {one: {environment: {API_TOKEN: "s3cret-${TAG}"}}}')
    options = ["-f", "base.yaml", "-f", "more.yaml", "--env-file", "given.env", "-p", stack.name]
    stack.compose(*options, "up", "-d", "--quiet-pull")
    yield stack
    stack.compose(*options, "down", "-t", "0")


@pytest.mark.parametrize("named", ["project", "directory", "link"])
def test_a_running_stack_is_seen_as_it_was_brought_up(up: Stack, named: str) -> None:
    link = up.directory.parent / "link"
    if not link.exists():
        link.symlink_to("shop")
    name = {"project": up.name, "directory": str(up.directory), "link": str(link)}[named]
    run = context(up.directory.parent)
    found = StackSource(run).find(name)
    assert found.directory == str(up.directory)
    assert [Path(path).name for path in found.files] == ["base.yaml", "more.yaml"]
    assert found.profiles == ("a", "b")
    assert [one.stack.service for one in found.members] == ["one"]
    model = declared(run, found)
    assert model.services["one"].environment == {"API_TOKEN": "s3cret-7"}
    assert model.project == up.name
    assert run.redactor.text("it is s3cret-7") == "it is [redacted]"


def test_inspecting_meets_the_secrets_of_containers(up: Stack) -> None:
    run = context(up.directory.parent)
    source = StackSource(run)
    assert [one["Name"] for one in source.inspect(source.members(up.name))] == [f"/{up.container('one')}"]
    assert run.redactor.text("s3cret-7") == "[redacted]"


def test_files_that_compose_finds_by_itself_are_not_named(tmp_path: Path, engine: str) -> None:
    stack = Stack(tmp_path / "shop", ONE)
    try:
        stack.compose("up", "-d")
        stack.write("compose.override.yaml", "services: {one: {labels: {new: '1'}}}")
        run = context(tmp_path)
        found = StackSource(run).find(stack.name)
        assert found.files == ()
        assert declared(run, found).services["one"].definition["labels"] == {"new": "1"}

        for name in ("compose.yaml", "compose.override.yaml"):
            (stack.directory / name).unlink()
        with pytest.raises(LetsbeError, match="of which there are containers") as raised:
            StackSource(run).find(stack.name)
        assert raised.value.code == "compose_file_missing"
    finally:
        docker("rm", "-f", stack.container("one"))
        docker("network", "rm", f"{stack.name}_default")


@pytest.mark.parametrize(
    ("files", "name", "directory"),
    [
        ({"Shop.1/compose.yaml": ONE}, "shop1", "Shop.1"),
        ({"a/compose.yaml": f"name: lt-named\n{ONE}"}, "lt-named", "a"),
        ({"a/compose.yaml": f"name: lt-${{WHICH}}\n{ONE}", "a/.env": "WHICH=x"}, "lt-x", "a"),
        ({"a/compose.yaml": f"name: lt-named\n{ONE}", "a/.env": "COMPOSE_PROJECT_NAME=lt-env"}, "lt-env", "a"),
        ({"a/compose.yaml": ONE, "a/compose.override.yaml": "name: lt-over"}, "lt-over", "a"),
    ],
    ids=["directory", "name", "interpolated", "environment", "override"],
)
def test_a_stack_without_containers_is_found_by_what_declares_it(
    engine: str, tmp_path: Path, files: dict[str, str], name: str, directory: str
) -> None:
    plant(tmp_path, files)
    run = context(tmp_path)
    for asked in (name, str(tmp_path / directory)):
        found = StackSource(run).find(asked)
        assert (found.directory, found.members) == (str(tmp_path / directory), ())
        assert declared(run, found).project == name


@pytest.mark.parametrize(
    ("files", "name", "code"),
    [
        ({}, "lt-nowhere", "stack_not_found"),
        ({}, "{root}/nowhere", "stack_not_found"),
        ({"a/x": ""}, "{root}/a", "compose_file_missing"),
        (
            {"a/compose.yaml": f"name: lt-two\n{ONE}", "b/compose.yaml": f"name: lt-two\n{ONE}"},
            "lt-two",
            "stack_ambiguous",
        ),
        ({}, "/etc", "path_refused"),
        ({"a/compose.yaml": "services: {one: {imag: x}}"}, "{root}/a", "compose_invalid"),
        ({"a/compose.yaml": "services:\n  a:\n - b"}, "{root}/a", "compose_invalid"),
        ({"a/compose.yaml": "services: {one: {image: x, env_file: no.env}}"}, "{root}/a", "compose_invalid"),
        ({"a/compose.yaml": ONE, "a/.env": "A='x"}, "{root}/a", "compose_invalid"),
    ],
    ids=["project", "directory", "no-file", "two", "outside", "unknown-key", "no-yaml", "no-env-file", "bad-env"],
)
def test_what_is_wrong_is_named(engine: str, tmp_path: Path, files: dict[str, str], name: str, code: str) -> None:
    plant(tmp_path, files)
    run = context(tmp_path)
    with pytest.raises(LetsbeError) as raised:
        declared(run, StackSource(run).find(name.format(root=tmp_path)))
    assert raised.value.code == code
    assert raised.value.hint
    if code == "compose_invalid":
        assert str(tmp_path / "a") in raised.value.message


def test_compose_s_words_hold_no_secret(engine: str, tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "compose.yaml": 'services: {one: {image: x, mem_limit: "${DB_PASSWORD}"}}',
            ".env": "DB_PASSWORD=s3cretword\n",
        },
    )
    run = context(tmp_path)
    with pytest.raises(LetsbeError, match=r"\[redacted\]") as raised:
        declared(run, StackSource(run).find(str(tmp_path)))
    assert "s3cretword" not in raised.value.message


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 1", "compose_missing"), ("echo 2.17.3", "compose_too_old"), ("echo v2.20.0", None), ("echo 5.0.1", None)],
    ids=["missing", "old", "oldest", "newest"],
)
def test_a_compose_that_can_t_be_used_is_told(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: str | None
) -> None:
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\n[ "$2" != version ] || {{ {script}; exit; }}\nexec docker "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(Processes, "which", lambda _self, _name: str(program))
    plant(tmp_path, {"s/compose.yaml": ONE})
    run = context(tmp_path)
    found = StackSource(run).find(str(tmp_path / "s"))
    if code is None:
        assert list(declared(run, found).services) == ["one"]
        return
    with pytest.raises(LetsbeError) as raised:
        declared(run, found)
    assert raised.value.code == code


def test_secrets_within_the_arguments_of_a_container_are_met(tmp_path: Path) -> None:
    config = {
        "Entrypoint": ["sh", "-c", "exec redis-server --requirepass hunter2222 --port 6379"],
        "Cmd": ["--token=hunter3333"],
        "Healthcheck": {"Test": ["CMD-SHELL", "redis-cli --pass 'hunter 4444' ping"]},
    }
    run = context(tmp_path)
    meet_in_containers(run, [{"Config": config}])
    assert run.redactor.met == {"hunter2222", "hunter3333", "hunter 4444"}
