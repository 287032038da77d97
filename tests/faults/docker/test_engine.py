"""Where an engine should be there is none, one that hangs, one that may not be asked, or something else."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.docker.case import BadEngine, Case, Peer, Says
from tests.faults.docker.says import refused

OTHER_USER = 65534
#: Root without its right to open what belongs to others: what any user is to a socket of root and the docker group.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@contextmanager
def nothing(base: Path) -> Iterator[BadEngine]:
    yield BadEngine(f"unix://{base}/no.sock")


@contextmanager
def listening(base: Path, answer: bytes | None = None) -> Iterator[tuple[BadEngine, Path]]:
    """A socket that takes connections, and answers nothing, or always the same."""
    path = base / "engine.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if answer is not None:
                    with suppress(OSError), connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        taken: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield BadEngine(f"unix://{path}"), path
        server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()
    path.unlink()


@contextmanager
def hung(base: Path) -> Iterator[BadEngine]:
    with listening(base) as (engine, _):
        yield engine


@contextmanager
def foreign(base: Path) -> Iterator[BadEngine]:
    with listening(base, b"220 mail.example ESMTP\r\n") as (engine, _):
        yield engine


@contextmanager
def forbidden(base: Path) -> Iterator[BadEngine]:
    with listening(base) as (engine, path):
        path.chmod(0o600)
        os.chown(path, OTHER_USER, OTHER_USER)
        yield BadEngine(engine.host, UNPRIVILEGED)


DISCOVER = ("SERVICE_DISCOVER", {"stacks": ["{project}"]})
TAIL = ("LOG_TAIL", {"stack": "{project}"})
ASKED = [DISCOVER, TAIL]


def everyone(code: str, message: str) -> tuple[Says, ...]:
    """All task types that need an engine say the same."""
    return tuple(refused(task, payload, code, message) for task, payload in ASKED)


CASES = [
    Case(
        "engine-down",
        alone=True,
        engine=nothing,
        says=everyone("docker_unavailable", r"no\.sock.*No such file"),
        peer=Peer("docker compose ps", "Cannot connect to the Docker daemon", rc=1),
    ),
    Case(
        "engine-hangs",
        alone=True,
        engine=hung,
        says=everyone("docker_timeout", r"engine\.sock"),
        peer=Peer("timeout 3 docker ps", "", rc=124, shown="nothing, for ever"),
    ),
    Case(
        "engine-may-not-be-asked",
        alone=True,
        engine=forbidden,
        says=everyone("docker_unavailable", r"no permission.*engine\.sock"),
        peer=Peer("docker compose ps", "permission denied", rc=1),
    ),
    Case(
        "no-engine-but-a-mail-server",
        alone=True,
        engine=foreign,
        says=everyone("docker_unavailable", r"engine\.sock"),
        peer=Peer("docker compose ps", "malformed HTTP", rc=1),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_engine_is_told(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
