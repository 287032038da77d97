"""docker compose and the engine's client: what to run, and what their output means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

#: compose's own label: the directory of the stack that a container belongs to.
WORKING_DIR_LABEL = "com.docker.compose.project.working_dir"
SERVICE_LABEL = "com.docker.compose.service"


class RunningContainer(Struct, frozen=True, kw_only=True):
    """A running container of a stack: its service and when it was made, in seconds since the epoch."""

    service: str
    created: float


def stack_argv(
    docker: str,
    *,
    directory: str | None = None,
    files: Sequence[str] = (),
    env_files: Sequence[str] = (),
    project: str | None = None,
) -> list[str]:
    """compose, for the stack of the working directory (else of ``directory``); what it is to do comes after it."""
    argv = [docker, "compose", "--ansi", "never"]
    argv += [word for path in env_files for word in ("--env-file", path)]
    argv += [word for path in files for word in ("--file", path)]
    argv += ["--project-directory", directory] if directory else []
    return argv + (["--project-name", project] if project else [])


def validate_argv(docker: str) -> list[str]:
    """Check the stack of the working directory; prints nothing but errors, since a stack's config holds secrets."""
    return [docker, "compose", "--ansi", "never", "config", "--quiet"]


def version_argv(docker: str) -> list[str]:
    """Is the compose plugin there?"""
    return [docker, "compose", "version", "--short"]


def running_argv(docker: str, directory: str) -> list[str]:
    """The running containers of the stack in a directory, a line of JSON each."""
    label = f'{{{{.Label "{SERVICE_LABEL}"}}}}'
    return [
        docker,
        "ps",
        "--no-trunc",
        "--filter",
        f"label={WORKING_DIR_LABEL}={directory}",
        "--format",
        f"{label}\t{{{{.CreatedAt}}}}",
    ]


def parse_running(output: bytes) -> list[RunningContainer]:
    """The output of :func:`running_argv`; lines of containers that name no service are left out."""
    found: list[RunningContainer] = []
    for line in output.decode(errors="replace").splitlines():
        service, _, created = line.partition("\t")
        if service:
            found.append(RunningContainer(service=service, created=_seconds(created)))
    return found


def _seconds(created: str) -> float:
    """Like ``2026-11-24 02:31:32 +0000 UTC``: the client's local time with its offset, whole seconds."""
    return datetime.strptime(created[:25], "%Y-%m-%d %H:%M:%S %z").timestamp()
