"""docker compose where it changes something: what to run for pulling, building and starting, and how it says no."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: What logrus, compose's own logger, puts before a line that is no error.
_NO_ERROR = re.compile(r"time=\S+ level=(?:warning|info|debug) ")
_NAME_TAKEN = re.compile(r'name "[^"]+" is already in use by container "?([0-9a-f]{12,64})')
_STAMP = re.compile(r'^time=\S+ level=\w+ msg="?')

#: Whatever was to be pulled or built is here by then.
_FROM_HERE = ("--no-build", "--pull", "never")


def pull_argv(compose: Sequence[str], services: Iterable[str]) -> list[str]:
    """Pull the images of services, but not of those that are built here.

    ``compose`` is the program with what names the stack. Standard error gets a line for each event.
    """
    return [*compose, "pull", "--ignore-buildable", *services]


def build_argv(compose: Sequence[str], services: Iterable[str]) -> list[str]:
    """Build the images of services that have a ``build:``."""
    return [*compose, "build", *services]


def create_argv(
    compose: Sequence[str], services: Iterable[str], *, recreate_all: bool = False, remove_orphans: bool = False
) -> list[str]:
    """Make the containers that are missing or differ from what is declared, and start none.

    ``up`` begins with the same, but goes on to start every one-shot that has ended well once more. (``up --no-deps``
    would keep it from that, but takes the dependencies out of what it compares, and recreates what did not change.)
    """
    options = [*_FROM_HERE]
    options += ["--force-recreate"] if recreate_all else []
    options += ["--remove-orphans"] if remove_orphans else []
    return [*compose, "create", *options, *services]


def up_argv(compose: Sequence[str], services: Iterable[str]) -> list[str]:
    """Start services and what they depend on, in order."""
    return [*compose, "up", "--detach", *_FROM_HERE, *services]


def remove_argv(docker: str, containers: Iterable[str]) -> list[str]:
    """Take containers away, whether or not they run; their named volumes stay."""
    return [docker, "container", "rm", "--force", *containers]


def rename_argv(docker: str, container: str, name: str) -> list[str]:
    """Give a container another name."""
    return [docker, "container", "rename", container, name]


def tag_argv(docker: str, image_id: str, reference: str) -> list[str]:
    """Let a name mean an image that is here."""
    return [docker, "image", "tag", image_id, reference]


def name_holder(words: str) -> str | None:
    """The id of the container that has the name which compose wanted to give, when that is what it complains of."""
    found = _NAME_TAKEN.search(words)
    return found[1] if found else None


def words_of(stderr: str, limit: int = 2000) -> str:
    """What compose says of a failure: the lines that are neither progress, which it indents, nor warnings."""
    lines = [line.rstrip() for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(" ") and not _NO_ERROR.match(line)]
    text = "\n".join(_STAMP.sub("", line) for line in told or lines[-5:])
    return text.removeprefix("Error response from daemon: ").removeprefix("Error: ").strip()[-limit:]
