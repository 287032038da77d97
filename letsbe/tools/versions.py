"""How the programs that executors use tell their version."""

from __future__ import annotations

import re

#: Program -> (name of the executable, arguments that print the version). ``docker`` asks the engine, not the client.
VERSION_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "docker": ("docker", ("version", "--format", "{{.Server.Version}}")),
    "compose": ("docker", ("compose", "version")),
    "nginx": ("nginx", ("-v",)),
    "restic": ("restic", ("version",)),
    "chromium": ("chromium", ("--version",)),
    "apt": ("apt-get", ("--version",)),
}

_NUMBER = re.compile(r"\d+")
_VERSION = re.compile(r"\d+(?:\.\d+)+[A-Za-z0-9.+~-]*")

#: The first docker compose whose output is understood in full.
OLDEST_COMPOSE = "2.20"


def is_older(version: str, than: str) -> bool:
    """Whether a version is older than another, by its leading numbers (``v2.26.1-4``); one without is not."""
    numbers = version_in(version)
    if numbers is None:
        return False
    return [int(one) for one in _NUMBER.findall(numbers)][:3] < [int(one) for one in _NUMBER.findall(than)]


def version_in(output: str) -> str | None:
    """The first version number in what a program printed."""
    found = _VERSION.search(output)
    return found.group() if found else None
