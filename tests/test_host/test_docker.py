"""The engine's client, on the real engine and on sockets that are none."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError
from letsbe.host.docker import Engine
from tests.engine import IMAGE, Stack, docker, running

COMPOSE = f"""
services:
  web: {{image: "{IMAGE}", command: [sh, -c, "echo hello; exec sleep 1000"], stop_grace_period: 0s}}
  job: {{image: "{IMAGE}", command: ["true"]}}
"""


@pytest.fixture(scope="module")
def stack(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("engine") / "stack", COMPOSE) as stack:
        docker("wait", stack.container("job"))
        yield stack


def test_containers_are_listed_by_their_labels(stack: Stack) -> None:
    engine = Engine()
    found = engine.containers(labels={"com.docker.compose.project": stack.name})
    assert {one["Labels"]["com.docker.compose.service"] for one in found} == {"web", "job"}
    up = engine.containers(all=False, labels={"com.docker.compose.project": stack.name})
    assert [one["Names"] for one in up] == [["/" + stack.container("web")]]


def test_what_is_gone_is_left_out_and_the_order_kept(stack: Stack) -> None:
    engine = Engine()
    names = [stack.container("job"), f"{stack.name}-never-was", stack.container("web")]
    assert [one["Name"].lstrip("/") for one in engine.inspect(names)] == [names[0], names[2]]
    assert list(engine.images([IMAGE, "no-such-image:1"])) == [IMAGE]


def test_the_rest_of_a_stack_can_be_had(stack: Stack) -> None:
    engine = Engine()
    assert engine.version()["ApiVersion"]
    assert f"{stack.name}_default" in {one["Name"] for one in engine.networks()}
    assert isinstance(engine.volumes(), list)


def test_a_log_is_a_stream_of_frames(stack: Stack) -> None:
    stream = Engine().logs(stack.container("web"), tty=False, tail="all")
    frames = b"".join(stream.chunks)
    assert frames[0] == 1
    assert frames.endswith(b"Z hello\n")


def test_following_can_be_ended_by_another_thread(stack: Stack) -> None:
    stream = Engine().logs(stack.container("web"), tty=False, follow=1)
    assert next(stream.chunks)
    threading.Timer(0.1, stream.close).start()
    with suppress(LetsbeError):  # the connection ended in the middle of an answer
        assert list(stream.chunks) == []


def test_what_the_engine_refuses_is_told_in_its_words(engine: str) -> None:
    with pytest.raises(LetsbeError, match="No such container: no-such-container") as refused:
        Engine().logs("no-such-container", tty=False)
    assert refused.value.code == "docker_error"
    assert refused.value.details == {"status": 404}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("ssh://elsewhere", "neither a socket nor a port"),
    ],
)
def test_no_engine_is_told_with_the_address(address: str, reason: str) -> None:
    with pytest.raises(LetsbeError, match=reason) as missing:
        Engine(address).version()
    assert missing.value.code == "docker_unavailable"
    assert address in missing.value.message
    assert missing.value.hint


def test_the_environment_names_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/by-environment.sock")
    with pytest.raises(LetsbeError, match=r"by-environment\.sock"):
        Engine().containers()


def test_an_engine_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(LetsbeError) as late:
            Engine(f"unix://{path}", answer_s=0.2).containers()
    assert late.value.code == "docker_timeout"
    assert str(path) in late.value.message


def test_what_is_no_engine_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(LetsbeError) as wrong:
            Engine(f"unix://{path}", answer_s=5).containers()
    assert wrong.value.code == "docker_unavailable"


def test_a_socket_that_may_not_be_used_names_the_group(tmp_path: Path) -> None:
    directory = tmp_path / "closed"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(directory / "s"))
        engine.listen()
        os.chmod(directory / "s", 0o600)
        for above in (directory, *directory.parents[:3]):
            above.chmod(above.stat().st_mode | 0o111)
        os.seteuid(65534)
        try:
            with pytest.raises(LetsbeError, match="no permission") as refused:
                Engine(f"unix://{directory / 's'}").version()
        finally:
            os.seteuid(0)
    assert "docker group" in refused.value.hint
