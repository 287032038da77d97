"""Which stack a container belongs to: compose's labels say it, directory names never do."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

PROJECT_LABEL = "com.docker.compose.project"
DIRECTORY_LABEL = "com.docker.compose.project.working_dir"
FILES_LABEL = "com.docker.compose.project.config_files"
ENV_FILES_LABEL = "com.docker.compose.project.environment_file"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
NUMBER_LABEL = "com.docker.compose.container-number"


class Membership(Struct, frozen=True, kw_only=True):
    """What compose wrote onto a container."""

    project: str
    directory: str
    files: tuple[str, ...]
    #: Given with ``--env-file``.
    env_files: tuple[str, ...] = ()
    service: str
    #: Made by ``docker compose run``, not part of what is up.
    one_off: bool
    #: From 1, when a service has several containers.
    number: int


def membership(labels: Mapping[str, str] | None) -> Membership | None:
    """The stack that a container's labels name; None when compose did not make it."""
    labels = labels or {}
    project, service = labels.get(PROJECT_LABEL), labels.get(SERVICE_LABEL)
    if not project or not service:
        return None
    directory = labels.get(DIRECTORY_LABEL, "")
    number = labels.get(NUMBER_LABEL, "1")
    return Membership(
        project=project,
        directory=directory,
        files=_paths(labels.get(FILES_LABEL), directory),
        env_files=_paths(labels.get(ENV_FILES_LABEL), directory),
        service=service,
        one_off=labels.get(ONE_OFF_LABEL, "").lower() == "true",
        number=int(number) if number.isdecimal() else 1,
    )


def _paths(label: str | None, directory: str) -> tuple[str, ...]:
    names = [name for name in (label or "").split(",") if name]
    return tuple(os.path.normpath(os.path.join(directory or "/", name)) for name in names)


def is_named(project: str, directory: str, name: str, canonical: Callable[[str], str]) -> bool:
    """Whether ``name`` means this stack: its project name, or an absolute path that leads to its directory.

    ``canonical`` takes the symlinks out of a path: compose writes down the directory as it was told it.
    """
    if name.startswith("/"):
        return bool(directory) and canonical(os.path.normpath(directory)) == canonical(os.path.normpath(name))
    return project == name


def container_name(container: Mapping[str, Any]) -> str:
    """The name in an answer of the engine, in the short form (``Names``) or the full one (``Name``)."""
    names: Iterable[str] = container.get("Names") or [container.get("Name") or ""]
    # A container that another one links to has that one's name for it too: /other/alias.
    own = [name.removeprefix("/") for name in names if "/" not in name.removeprefix("/")]
    return own[0] if own else str(container.get("Id", ""))[:12]
