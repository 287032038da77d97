"""A stack as its compose files declare it: which service reads which env file and names which variables."""

from __future__ import annotations

import os.path
import re

from msgspec import Struct

from letsbe.tools.compose_service import EnvFileUse, Service

#: Keys that steer compose itself; whoever changes them may change every service.
STEERING_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDKIT_")

_NOT_IN_PROJECT = re.compile(r"[^-_a-z0-9]")


class Stack(Struct, kw_only=True):
    """A stack; paths of env files are canonical. ``problems`` tell of files that could not be understood."""

    directory: str
    #: What compose calls it: see :func:`project_name`.
    project: str
    #: The stack's own ``.env``, whether or not it exists.
    env_path: str
    files: list[str]
    services: list[Service]
    problems: list[str]

    def reading(self, path: str) -> list[tuple[Service, EnvFileUse]]:
        """The services that have the file as ``env_file``."""
        return [(service, use) for service in self.services for use in service.env_files if use.path == path]

    def interpolates_from(self, path: str) -> bool:
        """Whether the file gives values to variables of the compose files."""
        return path == self.env_path or any(path in service.scopes for service in self.services)

    def uses(self, path: str) -> bool:
        """Whether the file has any part in the stack."""
        return self.interpolates_from(path) or bool(self.reading(path))

    def affected(self, path: str, keys: set[str]) -> list[str]:
        """The services, by name, that read the env file or name one of its keys."""
        found = {service.name for service, _ in self.reading(path)} if keys else set()
        for service in self.services:
            if path in service.scopes:
                named = {variable.name for variable in service.variables}
                if named & keys or any(key.startswith(STEERING_PREFIXES) for key in keys):
                    found.add(service.name)
        return sorted(found)


def project_name(directory: str) -> str:
    """compose's name for a stack of this directory that has no other: lower case, odd characters left out."""
    return _NOT_IN_PROJECT.sub("", os.path.basename(directory).lower()).lstrip("-_")
