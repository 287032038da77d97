"""When the orchestrator last answered: the age of a file, which costs an idle poll less than a row in the journal."""

from __future__ import annotations

import os

_NAME = "last-poll"


def mark(state_dir: str) -> None:
    """It answered now. What can't be marked is only not shown."""
    try:
        descriptor = os.open(os.path.join(state_dir, _NAME), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return


def when(state_dir: str) -> float | None:
    """Seconds since the epoch; None when it never answered."""
    try:
        return os.stat(os.path.join(state_dir, _NAME)).st_mtime
    except FileNotFoundError:
        return None
