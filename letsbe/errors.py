"""The one error type: a stable code for programs, a message and a hint for people."""

from __future__ import annotations

from typing import Any, NamedTuple

#: Exit codes, in the terms of the documentation.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 3
EXIT_REFUSED = 4
EXIT_BUSY = 5
EXIT_TIMED_OUT = 124
EXIT_INTERRUPTED = 130


class Fate(NamedTuple):
    """What an error makes of the run: the outcome's status and the process's exit code."""

    status: str
    exit_code: int


#: Codes whose fate is not simply "failed, exit 1". An executor may raise any other code without listing it here.
FATES: dict[str, Fate] = {
    "usage": Fate("failed", EXIT_USAGE),
    "invalid_payload": Fate("failed", EXIT_USAGE),
    "invalid_json": Fate("failed", EXIT_USAGE),
    "payload_too_large": Fate("failed", EXIT_USAGE),
    "invalid_config": Fate("failed", EXIT_USAGE),
    "unsafe_permissions": Fate("failed", EXIT_USAGE),
    "internal": Fate("failed", EXIT_INTERNAL),
    "policy_denied": Fate("refused", EXIT_REFUSED),
    "path_refused": Fate("refused", EXIT_REFUSED),
    "gate_refused": Fate("refused", EXIT_REFUSED),
    "command_refused": Fate("refused", EXIT_REFUSED),
    "probe_refused": Fate("refused", EXIT_REFUSED),
    "untrusted_task": Fate("refused", EXIT_REFUSED),
    "replayed_task": Fate("refused", EXIT_REFUSED),
    "unknown_type": Fate("unsupported", EXIT_USAGE),
    "unsupported_version": Fate("unsupported", EXIT_USAGE),
    "expired_task": Fate("expired", EXIT_FAILED),
    "busy": Fate("failed", EXIT_BUSY),
    "timed_out": Fate("timed_out", EXIT_TIMED_OUT),
    "cancelled": Fate("cancelled", EXIT_INTERRUPTED),
    "interrupted": Fate("interrupted", EXIT_INTERRUPTED),
    "cut_off": Fate("interrupted", EXIT_INTERRUPTED),
}

_DEFAULT_FATE = Fate("failed", EXIT_FAILED)


class Terminated(BaseException):
    """SIGTERM: somebody wants this process to end. No ``except Exception`` may swallow it."""


class DeadlineReached(BaseException):
    """The alarm behind the deadline of a run, or of an exchange, for code that looks at no clock."""


class LetsbeError(Exception):
    """A foreseen failure.

    ``code`` is a stable snake_case word that programs switch on; ``message`` names the path, field or value
    that was wrong; ``hint`` says what a person does next; ``details`` holds JSON values for programs.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = details or {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def status(self) -> str:
        """The outcome status that this error leads to."""
        return fate(self.code).status

    @property
    def exit_code(self) -> int:
        """The exit code of a process that ends on this error."""
        return fate(self.code).exit_code


def fate(code: str) -> Fate:
    """Status and exit code for an error code; ``failed`` and 1 unless :data:`FATES` says otherwise."""
    return FATES.get(code, _DEFAULT_FATE)
