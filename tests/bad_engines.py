"""What may stand where a Docker engine and compose should: nothing, something that hangs, something else."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from letsbe.host.spawning import PATH

_OTHER_USER = 65534
_PLUGIN = "/usr/libexec/docker/cli-plugins/docker-compose"
_OTHER_COMPOSE = """#!/bin/sh
case "$*" in
    docker-cli-plugin-metadata) echo '{{"SchemaVersion": "0.1.0", "Vendor": "test", "Version": "1"}}' ;;
    *version*) {version} ;;
    *) exec {real} "$@" ;;
esac
"""


@dataclass(frozen=True)
class BadEngine:
    """The environment that leads to it, and words to start programs with."""

    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    #: Who asks it has to wait.
    hangs: bool = False

    @property
    def apart(self) -> bool:
        """Whether it is to be asked by processes of their own, side by side."""
        return self.hangs or bool(self.prefix)


#: Makes one in a directory.
Making = Callable[[Path], AbstractContextManager[BadEngine]]


@contextmanager
def nothing(base: Path) -> Iterator[BadEngine]:
    """No socket at all."""
    yield BadEngine(_at(base / "no.sock"))


@contextmanager
def hung(base: Path) -> Iterator[BadEngine]:
    """A socket that takes connections and never answers."""
    with _listening(base / "engine.sock", None) as path:
        yield BadEngine(_at(path), hangs=True)


@contextmanager
def foreign(base: Path) -> Iterator[BadEngine]:
    """A mail server."""
    with _listening(base / "engine.sock", b"220 mail.example ESMTP\r\n") as path:
        yield BadEngine(_at(path))


@contextmanager
def forbidden(base: Path) -> Iterator[BadEngine]:
    """A socket of another user, for a root without the right to open what belongs to others, as all but root are."""
    with _listening(base / "engine.sock", None) as path:
        path.chmod(0o600)
        os.chown(path, _OTHER_USER, _OTHER_USER)
        unprivileged = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
        yield BadEngine(_at(path), unprivileged)


def _other_compose(version: str) -> Making:
    """The compose plugin, but for what it does when it is asked for its version."""

    @contextmanager
    def making(base: Path) -> Iterator[BadEngine]:
        real, fake = base / "real-compose", base / "compose"
        shutil.copy(_PLUGIN, real)
        fake.write_text(_OTHER_COMPOSE.format(version=version, real=real))
        fake.chmod(0o755)
        yield _covered(fake, _PLUGIN)

    return making


@contextmanager
def without_docker(base: Path) -> Iterator[BadEngine]:
    """No docker program."""
    yield _covered(base / "nothing", *(f"{directory}/docker" for directory in PATH.split(":")))


@contextmanager
def without_compose(base: Path) -> Iterator[BadEngine]:
    """A docker program without the compose plugin."""
    yield _covered(base / "nothing", _PLUGIN)


def compose_of(version: str) -> Making:
    """The compose plugin, but for the version that it tells."""
    return _other_compose(f"echo {version}")


#: A compose plugin that never answers.
hanging_compose = _other_compose("exec sleep 1000")


def _covered(fake: Path, *real: str) -> BadEngine:
    """Programs are started where one file lies over others; one without permissions if nothing is to be there."""
    if not fake.exists():
        fake.touch(0o600)
    mounts = [f"mount --bind {fake} {path}" for path in real if os.path.isfile(path) and not os.path.islink(path)]
    return BadEngine(prefix=("unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh"))


def _at(path: Path) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{path}"}


@contextmanager
def _listening(path: Path, answer: bytes | None) -> Iterator[Path]:
    """A socket that takes connections, and answers nothing, or always the same."""
    taken: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                taken.append(connection)
                if answer is not None:
                    with suppress(OSError), connection:
                        connection.recv(4096)
                        connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)
        threading.Thread(target=serve, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)
    path.unlink()
    for connection in taken:
        connection.close()
