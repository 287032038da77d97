"""Checks of what the agent keeps on disk."""

from __future__ import annotations

import os
import shutil
import sys

from letsbe import __version__
from letsbe.agent.checkup.finding import Finding, fail, ok, warn
from letsbe.agent.config import Config
from letsbe.agent.permissions import refuse_writable_by_others
from letsbe.errors import LetsbeError
from letsbe.frozen import unpack_dir

#: Below these the disk is full for all that matters, or soon.
FULL_BYTES = 64 * 1024 * 1024
SCARCE_BYTES = 1024 * 1024 * 1024
_SCARCE_INODES = 10_000


def binary(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """The program: nobody else may be able to replace what root runs."""
    import letsbe

    built = unpack_dir() is not None
    path = sys.executable if built else os.path.dirname(letsbe.__file__)
    try:
        refuse_writable_by_others(path, os.stat(path))
    except LetsbeError as error:
        return [fail("binary", error.message, error.hint)]
    return [ok("binary", f"{path}, {__version__}{'' if built else ' (from source)'}")]


def state(config: Config) -> list[Finding]:
    """The state directory: there, private, writable, all of one owner."""
    path, name = config.state_dir, "state directory"
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return [_not_made(name, path)]
    if found.st_mode & 0o077:
        mode = found.st_mode & 0o7777
        return [fail(name, f"{path} is open to others (mode {mode:04o})", f"chmod 700 {path}")]
    if found.st_uid not in (0, os.geteuid()) or not os.access(path, os.W_OK | os.X_OK):
        return [fail(name, f"{path} can't be written by this user", "Run as root, or as the user it belongs to.")]
    strangers = [
        os.path.join(directory, entry)
        for directory, directories, files in os.walk(path)
        for entry in (*directories, *files)
        if os.lstat(os.path.join(directory, entry)).st_uid != found.st_uid
    ]
    if strangers:
        hint = "`letsbe install` hands them over, or chown them to the directory's owner."
        return [warn(name, f"{len(strangers)} entries belong to another user, such as {strangers[0]}", hint)]
    return [ok(name, path)]


def disk(config: Config) -> list[Finding]:
    """Free space where state, log and roots are."""
    places = [config.state_dir, *config.roots]
    if config.log.file is not None:
        places.append(os.path.dirname(config.log.file))
    findings, seen = [], set()
    for place in places:
        if not os.path.isdir(place) or (device := os.stat(place).st_dev) in seen:
            continue
        seen.add(device)
        findings.append(_space(place))
    return findings


def journal(config: Config) -> list[Finding]:
    """The journal: readable and whole."""
    import sqlite3
    from urllib.parse import quote

    path = os.path.join(config.state_dir, "state.db")
    if not os.path.exists(path):
        return [ok("journal", "none yet")]
    hint = "`letsbe history` says more. Restore it from a backup, or move it away: then the history is lost."
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=2.0)
        try:
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            runs = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return [fail("journal", f"{path}: {error}", hint)]
    if verdict != "ok":
        return [fail("journal", f"{path} is damaged: {verdict}", hint)]
    return [ok("journal", f"{runs} runs, {_size(os.path.getsize(path))}, whole")]


def log_file(config: Config) -> list[Finding]:
    """The log file can be added to."""
    path = config.log.file
    if path is None:
        return [ok("log", "off")]
    hint = "Make it writable for the agent's user; `letsbe install` does."
    directory = os.path.dirname(path)
    if os.path.exists(path):
        return [ok("log", path) if os.access(path, os.W_OK) else fail("log", f"{path} can't be written", hint)]
    if not os.path.isdir(directory):
        return [_not_made("log", directory)]
    if not os.access(directory, os.W_OK):
        return [fail("log", f"{directory} can't be written", hint)]
    return [ok("log", f"{path}, nothing logged yet")]


def roots(config: Config) -> list[Finding]:
    """The roots are there and can be worked in."""
    findings = []
    for root in config.roots:
        if not os.path.isdir(root):
            findings.append(warn("roots", f"{root} is not there", "mkdir it, or take it out of `roots`."))
        elif not os.access(root, os.W_OK | os.X_OK):
            hint = "chown it, or install with --user root."
            findings.append(warn("roots", f"{root} can't be written by the agent's user", hint))
        else:
            findings.append(ok("roots", root))
    return findings


def _not_made(check: str, path: str) -> Finding:
    return warn(check, f"{path} is not there", "`letsbe install` makes it.")


def _space(place: str) -> Finding:
    free = shutil.disk_usage(place).free
    inodes = os.statvfs(place)
    observed = f"{_size(free)} free at {place}"
    if free < FULL_BYTES or (inodes.f_files and not inodes.f_favail):
        return fail("disk", observed if inodes.f_favail else f"no inodes left at {place}", "Make room.")
    if free < SCARCE_BYTES:
        return warn("disk", observed, "Make room: backups, images and upgrades need some.")
    if inodes.f_files and inodes.f_favail < _SCARCE_INODES:
        return warn("disk", f"only {inodes.f_favail} inodes left at {place}", "Remove what made so many small files.")
    return ok("disk", observed)


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
