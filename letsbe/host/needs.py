"""Whether this machine has, for this user, what a task type needs: asked before a run, by ``doctor``, and by ECHO."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host.docker import engine_address, not_answering
from letsbe.host.machine import is_root
from letsbe.host.processes import Processes

#: An engine whose queue of connections is full is one that hangs; seconds.
_CONNECT_S = 2.0

#: Where the docker program looks for its plugins, beside ~/.docker; https://github.com/docker/cli, cli-plugins/manager.
_PLUGIN_DIRECTORIES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)

_AS_ROOT = "Run as root, or install with --user root if this machine shall do it."
#: How docker compose is installed.
GET_COMPOSE = "apt-get install docker-compose (Debian 13), or docker-compose-plugin (Docker's own packages)."


class Missing(Struct, frozen=True):
    """What is not there, and the error of a run that needs it: why it is missing, and as a hint what a person does."""

    need: str
    error: LetsbeError


def missing(needs: Iterable[str]) -> list[Missing]:
    """Which of the needs this machine or this user lacks. Cheap: starts no program, asks the engine nothing."""
    return [Missing(need, error) for need in needs if (error := _lacking(need)) is not None]


def require(task_type: str, needs: Iterable[str]) -> None:
    """Raise unless all needs are met: with the code of what is missing, ``needs_missing`` when there are several."""
    lacking = missing(needs)
    if not lacking:
        return
    reasons, remedies = told(lacking)
    error = LetsbeError("needs_missing", f"{task_type} can't work here: {reasons}", hint=remedies)
    codes = {one.error.code for one in lacking}
    error.code = codes.pop() if len(codes) == 1 else error.code
    error.details["missing"] = [one.need for one in lacking]
    raise error


def told(lacking: Iterable[Missing]) -> tuple[str, str]:
    """The reasons, and what to do about them, each in one line."""
    reasons = "; ".join(one.error.message for one in lacking)
    return reasons, " ".join(dict.fromkeys(one.error.hint for one in lacking))


def _lacking(need: str) -> LetsbeError | None:
    if need == "root":
        return None if is_root() else LetsbeError("needs_root", "it needs root", hint=_AS_ROOT)
    if need == "docker":
        return _engine()
    if need == "compose":
        if _has_compose():
            return None
        return LetsbeError("needs_missing", "docker compose is not installed", hint=GET_COMPOSE)
    if Processes().which(need) is not None:
        return None
    return LetsbeError(
        "needs_missing", f"{need} is not installed", hint=f"Install {need} if this machine shall do that."
    )


def _engine() -> LetsbeError | None:
    address = engine_address()
    if not address.startswith("unix://"):
        return None  # over TCP everybody may ask; whether it answers is found on the way
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(_CONNECT_S)
        try:
            tried.connect(address.removeprefix("unix://"))
        except OSError as error:
            return not_answering(address, error)
    return None


def _has_compose() -> bool:
    home = os.path.expanduser("~/.docker/cli-plugins")
    places = (os.path.join(directory, "docker-compose") for directory in (home, *_PLUGIN_DIRECTORIES))
    return Processes().which("docker") is not None and any(os.access(place, os.X_OK) for place in places)
