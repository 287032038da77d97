"""Logging through structlog: JSON lines in the log file, short lines on standard error.

structlog is imported when there is something to say: an idle poll never pays for it.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import MutableMapping
from typing import Any

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

#: The log file is turned over past this size; three old ones are kept.
ROTATE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 3


class _Settings:
    """What :func:`configure` was told; a module-level value since loggers are asked for anywhere."""

    file: str | None = None
    file_level = LEVELS["info"]
    stderr_level = LEVELS["warning"]
    bound: dict[str, Any] = {}


def configure(*, file: str | None, level: str, verbose: int = 0) -> None:
    """Where the log goes. ``verbose`` 1 shows info and 2 debug on standard error as well."""
    _Settings.file = file
    _Settings.file_level = LEVELS[level]
    _Settings.stderr_level = {0: LEVELS["warning"], 1: LEVELS["info"]}.get(verbose, LEVELS["debug"])


def bind(**values: Any) -> None:
    """Values for every following line, such as ``task_id``; None takes one away."""
    for name, value in values.items():
        if value is None:
            _Settings.bound.pop(name, None)
        else:
            _Settings.bound[name] = value


def logger() -> Any:
    """A structlog logger with the bound values."""
    import structlog

    return structlog.wrap_logger(
        None,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(_Settings.file_level, _Settings.stderr_level)),
        cache_logger_on_first_use=False,
        **_Settings.bound,
    )


def _write(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    import structlog

    level = LEVELS[event["level"]]
    if level >= _Settings.stderr_level:
        values = " ".join(
            f"{key}={value}" for key, value in event.items() if key not in ("event", "level", "timestamp", "exception")
        )
        print(f"letsbe: {event['level']}: {event['event']}{' ' + values if values else ''}", file=sys.stderr)
        if "exception" in event and _Settings.stderr_level <= LEVELS["debug"]:
            print(event["exception"], file=sys.stderr)
    if _Settings.file is not None and level >= _Settings.file_level:
        import msgspec

        _append(_Settings.file, msgspec.json.encode(event, enc_hook=repr) + b"\n")
    raise structlog.DropEvent


def _append(path: str, line: bytes) -> None:
    """Add a line; a log that can't be written must not stop the work, and says so on standard error once."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, line)
            if os.fstat(descriptor).st_size > ROTATE_BYTES and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                _rotate(path)
        finally:
            os.close(descriptor)
    except OSError as error:
        if _Settings.file is not None:
            print(f"letsbe: warning: log file {path}: {error.strerror}", file=sys.stderr)
        _Settings.file = None


def _rotate(path: str) -> None:
    for number in range(KEPT_FILES - 1, 0, -1):
        if os.path.exists(f"{path}.{number}"):
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
    os.rename(path, f"{path}.1")
