"""Stacks on the real engine, for tests: each is a directory below a root and a project of its own."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE = "letsbe-test/busybox:1"
#: What a service is that wants more memory than it may have. The engine misses a kill that comes before it listens, and
#: one that it hears of after the end, so there are several. A runc of Debian 13 needs 13 MB to start anything.
GREEDY = (
    'command: [sh, -c, "for n in 1 2 3; do sleep 1; tail /dev/zero; done; exit 137"], '
    "mem_limit: 32m, memswap_limit: 32m"
)


class Stack:
    """A compose stack in a directory; its project name is unlike any other."""

    def __init__(self, directory: Path, compose: str, files: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.name = f"lt{uuid.uuid4().hex[:10]}"
        directory.mkdir(parents=True)
        self.write("compose.yaml", f"name: {self.name}\n{compose}")
        for name, content in (files or {}).items():
            self.write(name, content)

    def write(self, name: str, content: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def compose(self, *words: str, check: bool = True) -> str:
        """Run ``docker compose``; gives its standard output."""
        command = ["docker", "compose", "--ansi", "never", *words]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def container(self, service: str, number: int = 1) -> str:
        """The name that compose gives a container."""
        return f"{self.name}-{service}-{number}"

    def inspect(self, service: str) -> Any:
        """What ``docker inspect`` says of a service's container."""
        return json.loads(docker("inspect", self.container(service)))[0]


def answer(port: int, path: str) -> str:
    """What an HTTP server on loopback answers, tried for some seconds."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as found:
                return str(found.read().decode().strip())
        except OSError:
            time.sleep(0.05)
    return "no answer"


def docker(*words: str, check: bool = True) -> str:
    """Run ``docker``; gives its standard output."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


@contextmanager
def running(directory: Path, compose: str, files: dict[str, str] | None = None) -> Iterator[Stack]:
    """A stack that is up, and taken away at the end with its volumes."""
    stack = Stack(directory, compose, files)
    try:
        stack.compose("up", "-d", "--quiet-pull")
        yield stack
    finally:
        stack.compose("down", "-t", "0", "-v", "--remove-orphans", check=False)
