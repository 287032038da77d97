"""Checks of the programs that executors need."""

from __future__ import annotations

from letsbe.agent.checkup.finding import Finding, ok, warn
from letsbe.agent.config import Config
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.host.needs import GET_COMPOSE, missing, told
from letsbe.host.processes import Processes
from letsbe.tools.versions import OLDEST_COMPOSE, is_older, version_in

_TIMEOUT_S = 4.0


def docker(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """The engine answers, and compose is version 2."""
    program = Processes().which("docker")
    if program is None:
        return [warn("docker", "no docker program", "Stacks need it: apt-get install docker.io")]
    engine = _first_line([program, "version", "--format", "{{.Server.Version}}"])
    if engine[0] != 0:
        hint = "Is it running, and is the agent's user root or in the docker group?"
        return [warn("docker", f"the engine does not answer: {engine[1]}", hint)]
    rc, line = _first_line([program, "compose", "version"])
    compose = version_in(line)
    if rc != 0 or compose is None:
        return [warn("docker", f"engine {engine[1]}, but no compose plugin: {line}", GET_COMPOSE)]
    if is_older(compose, OLDEST_COMPOSE):
        hint = f"Upgrade it: task types for stacks are made for {OLDEST_COMPOSE} and later."
        return [warn("docker", f"engine {engine[1]}, and compose {compose}, which is too old", hint)]
    return [ok("docker", f"engine {engine[1]}, compose {compose}")]


def executors(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """Which task types could not work here, or not fully, and for want of what."""
    findings = []
    unable = 0
    for name in EXECUTOR_REGISTRY:
        kind = executor_class(name)
        lacking, less = missing(kind.needs), missing(kind.better_with)
        unable += bool(lacking)
        for verb, found in (("can't work", lacking), ("does less", less)):
            if found:
                reasons, remedies = told(found)
                findings.append(warn("executors", f"{name} {verb}: {reasons}", remedies))
    able = len(EXECUTOR_REGISTRY) - unable
    return [ok("executors", f"{able} of {len(EXECUTOR_REGISTRY)} can work here"), *findings]


def _first_line(argv: list[str]) -> tuple[int | None, str]:
    """Exit code and the first line that a program prints, of standard error when it fails."""
    done = Processes().run(argv, changes=False, cwd=None, stdin=b"", env=None, timeout_s=_TIMEOUT_S, output_bytes=4096)
    if done.timed_out:
        return None, f"no answer within {_TIMEOUT_S:g} s"
    text = (done.stdout if done.rc == 0 else done.stderr).decode("utf-8", "replace").strip()
    return done.rc, (text or f"exit code {done.rc}").splitlines()[0]
