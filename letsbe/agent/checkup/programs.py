"""Checks of the programs that executors need."""

from __future__ import annotations

import os

from letsbe.agent.checkup.finding import Finding, ok, warn
from letsbe.agent.config import Config
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.host.processes import Processes
from letsbe.tools.versions import OLDEST_COMPOSE, VERSION_COMMANDS, is_older

_TIMEOUT_S = 4.0
#: The program alone is not enough: the engine has to answer, the plugin has to be there.
_ANSWERING = ("docker", "compose")


def docker(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """The engine answers, and compose is version 2."""
    program = Processes().which("docker")
    if program is None:
        return [warn("docker", "no docker program", "Stacks need it: apt-get install docker.io")]
    engine = _first_line([program, "version", "--format", "{{.Server.Version}}"])
    if engine[0] != 0:
        hint = "Is it running, and is the agent's user root or in the docker group?"
        return [warn("docker", f"the engine does not answer: {engine[1]}", hint)]
    compose = _first_line([program, "compose", "version", "--short"])
    if compose[0] != 0:
        hint = "apt-get install docker-compose (Debian 13), or docker-compose-plugin (Docker's own packages)."
        return [warn("docker", f"engine {engine[1]}, but no compose plugin: {compose[1]}", hint)]
    if is_older(compose[1], OLDEST_COMPOSE):
        hint = f"Upgrade it: task types for stacks are made for {OLDEST_COMPOSE} and later."
        return [warn("docker", f"engine {engine[1]}, and compose {compose[1]}, which is too old", hint)]
    return [ok("docker", f"engine {engine[1]}, compose {compose[1]}")]


def executors(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """Which task types could not work here, and for want of what."""
    found: dict[str, bool] = {}
    findings = []
    for name in EXECUTOR_REGISTRY:
        missing = [need for need in executor_class(name).needs if not found.setdefault(need, _is_there(need))]
        if missing:
            findings.append(warn("executors", f"{name} lacks {', '.join(missing)}", _remedy(missing)))
    able = len(EXECUTOR_REGISTRY) - len(findings)
    return [ok("executors", f"{able} of {len(EXECUTOR_REGISTRY)} can work here"), *findings]


def _is_there(need: str) -> bool:
    if need == "root":
        return os.geteuid() == 0
    executable, arguments = VERSION_COMMANDS.get(need, (need, ()))
    program = Processes().which(executable)
    if program is None or need not in _ANSWERING:
        return program is not None
    return _first_line([program, *arguments])[0] == 0


def _remedy(missing: list[str]) -> str:
    if missing == ["root"]:
        return "Install with --user root if this machine shall do it."
    return "Install it if this machine shall do that."


def _first_line(argv: list[str]) -> tuple[int | None, str]:
    """Exit code and the first line that a program prints, of standard error when it fails."""
    done = Processes().run(argv, changes=False, cwd=None, stdin=b"", env=None, timeout_s=_TIMEOUT_S, output_bytes=4096)
    if done.timed_out:
        return None, f"no answer within {_TIMEOUT_S:g} s"
    text = (done.stdout if done.rc == 0 else done.stderr).decode("utf-8", "replace").strip()
    return done.rc, (text or f"exit code {done.rc}").splitlines()[0]
