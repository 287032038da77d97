"""Asking the engine which containers have a file mounted; no answer is no error."""

from __future__ import annotations

from letsbe.host import Host
from letsbe.tools import bind_mounts

ENGINE_S = 10.0
_MOUNTS_BYTES = 8 * 1024 * 1024


def containers_that_mount(host: Host, paths: set[str]) -> tuple[list[str], str]:
    """Names of the running containers with a bind mount of exactly one of these paths, and a warning, or none."""
    docker = host.processes.which("docker")
    if docker is None:
        return [], "bind mounts not looked at: there is no docker here"
    running = host.run(bind_mounts.running_argv(docker), changes=False, timeout_s=ENGINE_S, output_bytes=_MOUNTS_BYTES)
    if running.rc != 0:
        return [], "bind mounts not looked at: the docker engine does not answer"
    containers = running.stdout.decode().split()
    if not containers:
        return [], ""
    argv = bind_mounts.mounts_argv(docker, containers)
    shown = host.run(argv, changes=False, timeout_s=ENGINE_S, output_bytes=_MOUNTS_BYTES)
    found = sorted({mount.container for mount in bind_mounts.bind_mounts(shown.stdout) if mount.source in paths})
    cut = shown.rc is None or shown.stdout_cut > 0
    return found, "bind mounts not looked at in full: the docker engine's answer was cut" if cut else ""
