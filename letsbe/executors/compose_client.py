"""What executors ask docker compose and the engine about a stack; no answer is no error."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host import Host
from letsbe.tools import compose
from letsbe.tools.compose import RunningContainer
from letsbe.tools.redaction import Redactor

VALIDATION_S = 60.0
ENGINE_S = 10.0
#: compose's own words, from their end.
MAX_REASON = 2000


class Verdict(Struct, frozen=True, kw_only=True):
    """What ``docker compose config`` said of a stack; ``unknown`` when it could not be asked, with the reason."""

    state: Literal["valid", "invalid", "unknown"]
    reason: str = ""


class ComposeClient:
    """Runs docker compose for one executor. Its output may hold values of env files: all of it is redacted."""

    def __init__(self, host: Host, redactor: Redactor) -> None:
        self._host = host
        self._redactor = redactor
        self._docker = host.processes.which("docker")

    def validate(self, directory: str) -> Verdict:
        """Whether compose accepts the stack in a directory, as it is on disk."""
        if self._docker is None:
            return Verdict(state="unknown", reason="docker is not installed")
        rc, reason = self._run(compose.validate_argv(self._docker), directory)
        if rc == 0:
            return Verdict(state="valid")
        if rc is None or self._run(compose.version_argv(self._docker), directory)[0] != 0:
            return Verdict(state="unknown", reason=reason if rc is None else "docker compose is not installed")
        return Verdict(state="invalid", reason=reason)

    def running(self, directory: str) -> list[RunningContainer] | None:
        """The running containers of the stack in a directory; None when there is no engine to ask."""
        if self._docker is None:
            return None
        done = self._host.run(compose.running_argv(self._docker, directory), changes=False, timeout_s=ENGINE_S)
        return compose.parse_running(done.stdout) if done.rc == 0 and not done.stdout_cut else None

    def _run(self, argv: list[str], directory: str) -> tuple[int | None, str]:
        try:
            done = self._host.run(argv, changes=False, cwd=directory, timeout_s=VALIDATION_S)
        except LetsbeError as error:
            return None, error.message
        if done.rc is None:
            return None, "docker compose gave no answer in time"
        text = done.stderr.decode(errors="replace").strip()
        return done.rc, self._redactor.text(text)[-MAX_REASON:]
