"""How the programs that executors use tell their version."""

from __future__ import annotations

import re

#: Program -> (name of the executable, arguments that print the version). ``docker`` asks the engine, not the client.
VERSION_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "docker": ("docker", ("version", "--format", "{{.Server.Version}}")),
    "compose": ("docker", ("compose", "version", "--short")),
    "nginx": ("nginx", ("-v",)),
    "restic": ("restic", ("version",)),
    "chromium": ("chromium", ("--version",)),
    "apt": ("apt-get", ("--version",)),
}

_VERSION = re.compile(r"\d+(?:\.\d+)+[A-Za-z0-9.+~-]*")


def version_in(output: str) -> str | None:
    """The first version number in what a program printed."""
    found = _VERSION.search(output)
    return found.group() if found else None
