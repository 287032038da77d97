"""Refuse to believe files that somebody else could have written."""

from __future__ import annotations

import os
import stat
import sys

from letsbe.errors import LetsbeError


def refuse_writable_by_others(path: str, status: os.stat_result) -> None:
    """Raise ``unsafe_permissions`` unless only root or the running user can write ``path`` and replace it.

    ``status`` is the fstat of the open file; its directory is looked at by name (a sticky one, like /tmp, protects).
    """
    directory = os.path.dirname(os.path.abspath(path))
    _refuse(path, status, "chmod go-w")
    above = os.stat(directory)
    if not above.st_mode & stat.S_ISVTX:
        _refuse(directory, above, "chmod go-w")


def refuse_writable_program() -> None:
    """Raise ``unsafe_permissions`` when the built file that runs could be replaced by others. From source: nothing."""
    if getattr(sys, "frozen", False):
        refuse_writable_by_others(sys.executable, os.stat(sys.executable))


def refuse_readable_by_others(path: str, status: os.stat_result) -> None:
    """Raise ``unsafe_permissions`` when a credential can be read by anybody but its owner."""
    refuse_writable_by_others(path, status)
    if status.st_mode & 0o077:
        raise LetsbeError(
            "unsafe_permissions",
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )


def _refuse(path: str, status: os.stat_result, remedy: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise LetsbeError(
            "unsafe_permissions",
            f"{path} belongs to user {status.st_uid}, who is neither root nor the one running this",
            hint=f"chown root {path}",
        )
    if status.st_mode & 0o022 and not (status.st_mode & 0o022 == 0o020 and status.st_gid == 0):
        raise LetsbeError(
            "unsafe_permissions",
            f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"{remedy} {path}",
        )
