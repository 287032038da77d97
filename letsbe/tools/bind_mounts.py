"""Which containers have a host file mounted: from ``docker ps`` and ``docker inspect``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from letsbe.decoding import decode


class BindMount(Struct, frozen=True):
    """A path of the host that a running container has mounted."""

    container: str
    source: str


class _Mount(Struct):
    Type: str = ""
    Source: str = ""


def running_argv(docker: str) -> list[str]:
    """Ids of the running containers, one on each line."""
    return [docker, "ps", "--quiet", "--no-trunc"]


def mounts_argv(docker: str, containers: Sequence[str]) -> list[str]:
    """Name and mounts of containers, one JSON document of each on a line."""
    return [docker, "inspect", "--type", "container", "--format", "{{json .Name}} {{json .Mounts}}", *containers]


def bind_mounts(stdout: bytes) -> list[BindMount]:
    """The bind mounts in the output of :func:`mounts_argv`; lines that can't be read are left out."""
    found: list[BindMount] = []
    for line in stdout.splitlines():
        name, _, mounts = line.partition(b" ")
        try:
            container = decode(name, str).removeprefix("/")
            parsed = decode(mounts, list[_Mount])
        except msgspec.MsgspecError:
            continue
        found += [BindMount(container, mount.Source) for mount in parsed if mount.Type == "bind"]
    return found
