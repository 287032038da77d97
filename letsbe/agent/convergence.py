"""Bringing files and directories to a wanted state: what is so already is left alone, and everything done is told."""

from __future__ import annotations

import os
import re
import stat
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.agent.durable import sync_directory
from letsbe.errors import LetsbeError
from letsbe.host.directories import make_directory

Owner = tuple[int, int]
ActionName = Literal["create", "update", "remove", "run", "keep"]


class Action(Struct, frozen=True, kw_only=True):
    """One thing that was done; in check mode, that would be. ``keep`` tells why something was left as it is."""

    path: Annotated[str, Meta(description="What it was done to; for `run`, the program.")]
    action: ActionName
    why: str


class Convergence:
    """Works on paths below ``prefix`` (none: the machine itself). With ``check`` it only looks."""

    def __init__(self, prefix: str = "", *, check: bool = False) -> None:
        self.prefix = "" if prefix == "/" else prefix.rstrip("/")
        self.check = check
        self.actions: list[Action] = []

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, changed."""
        return any(action.action != "keep" for action in self.actions)

    def path(self, path: str) -> str:
        """Where a path of the target machine is on this one."""
        return self.prefix + path

    def note(self, path: str, action: ActionName, why: str) -> bool:
        """Write down what is about to be done; whether to do it."""
        self.actions.append(Action(path=path, action=action, why=why))
        return not self.check

    def read(self, path: str, *, most: int = 1024 * 1024) -> bytes | None:
        """What a file holds; None when it isn't there."""
        try:
            with open(self.path(path), "rb") as file:
                return file.read(most)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable(self.path(path), error) from error

    def directory(self, path: str, mode: int, owner: Owner | None, *, enforce: bool = True) -> None:
        """A directory of a mode and an owner; with ``enforce`` false one that is there is left as it is."""
        full = self.path(path)
        try:
            found = os.stat(full)
        except FileNotFoundError:
            if self.note(path, "create", f"directory, mode {mode:04o}"):
                _make_directory(full, mode, owner)
            return
        except OSError as error:
            raise unusable(full, error) from error
        if not stat.S_ISDIR(found.st_mode):
            raise LetsbeError("not_a_directory", f"{full} is no directory", hint="Move it away, then install again.")
        wrong = _differences(found, mode, owner) if enforce else []
        if wrong and self.note(path, "update", ", ".join(wrong)):
            _apply_at(full, os.O_RDONLY | os.O_DIRECTORY, mode, owner)

    def hand_over(self, path: str, owner: Owner) -> None:
        """Everything in a directory belongs to ``owner``. Links, and files with a second name, are left alone."""
        strangers = 0
        for _, directories, files, descriptor in os.fwalk(self.path(path)):
            for name in (*directories, *files):
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                single = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
                if (found.st_uid, found.st_gid) == owner or not (single or stat.S_ISDIR(found.st_mode)):
                    continue
                strangers += 1
                if not self.check:
                    os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
        if strangers:
            self.note(f"{path}/*", "update", f"{strangers} entries belong to another user")

    def file(self, path: str, content: bytes, mode: int, owner: Owner | None, why: str) -> None:
        """A file of a content, mode and owner, replaced atomically; ``why`` says what it is for."""
        full = self.path(path)
        there = self.read(path, most=len(content) + 1)
        wrong = [] if there is None else _differences(os.stat(full), mode, owner)
        if there == content and not wrong:
            return
        if there is None:
            proceed = self.note(path, "create", why)
        else:
            proceed = self.note(path, "update", ", ".join([*(["other content"] if there != content else []), *wrong]))
        if not proceed:
            return
        if there == content:
            _apply_at(full, os.O_RDONLY, mode, owner)
        else:
            self.replace(path, content, mode, owner)

    def replace(self, path: str, content: bytes, mode: int, owner: Owner | None) -> None:
        """Write a file whole, on disk when it returns, without telling."""
        full = self.path(path)
        _make_parents(full)
        temporary = f"{full}.{os.getpid()}.new"  # cron and systemd read no names with such an end
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                _apply(descriptor, mode, owner)
                os.fsync(descriptor)
            os.rename(temporary, full)
            sync_directory(os.path.dirname(full))
        except OSError as error:
            raise unusable(full, error) from error

    def link(self, path: str, target: str, why: str) -> None:
        """A symbolic link."""
        full = self.path(path)
        there = os.readlink(full) if os.path.islink(full) else None
        if there == target:
            return
        if self.note(path, "create" if there is None else "update", why):
            _make_parents(full)
            self._unlink(full)
            os.symlink(target, full)

    def absent(self, path: str, why: str) -> None:
        """No such file."""
        full = self.path(path)
        if os.path.lexists(full) and self.note(path, "remove", why):
            self._unlink(full)

    def unfinished(self, path: str) -> list[str]:
        """What a kill has left of earlier writes of a file, by this program: ``PATH.PID.new`` and ``PATH.PID.tmp``."""
        directory, name = os.path.split(path)
        ours = re.compile(re.escape(name) + r"\.[0-9]+\.(new|tmp)")
        try:
            names = os.listdir(self.path(directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(f"{directory}/{found}" for found in names if ours.fullmatch(found))

    def absent_tree(self, path: str, why: str) -> None:
        """No such directory, nor anything in it."""
        import shutil

        full = self.path(path)
        if os.path.islink(full):
            self.absent(path, why)
        elif os.path.isdir(full) and self.note(path, "remove", why):
            shutil.rmtree(full)

    def absent_if_empty(self, path: str, leaving: set[str]) -> None:
        """No such directory, unless it holds anything beside ``leaving`` (what check mode would have removed)."""
        full = self.path(path)
        if not os.path.isdir(full):
            return
        others = sorted(set(os.listdir(full)) - (leaving if self.check else set()))
        if others:
            self.note(path, "keep", f"holds what is not letsbe's: {', '.join(others[:5])}")
        elif self.note(path, "remove", "empty"):
            if os.path.islink(full):
                os.unlink(full)
            else:
                os.rmdir(full)

    def run(self, argv: list[str], why: str, *, hint: str) -> None:
        """Run a program that changes the machine; ``command_failed`` when it does not exit with 0."""
        from letsbe.host.processes import Processes

        if not self.note(argv[0], "run", why):
            return
        done = Processes().run(argv, changes=True, cwd=None, stdin=b"", env=None, timeout_s=60.0, output_bytes=4096)
        if done.rc != 0:
            reason = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise LetsbeError("command_failed", f"{' '.join(argv)}: exit code {done.rc}: {reason}", hint=hint)

    @staticmethod
    def _unlink(full: str) -> None:
        try:
            os.unlink(full)
        except FileNotFoundError:
            return
        except OSError as error:
            raise unusable(full, error) from error


def unusable(path: str, error: OSError) -> LetsbeError:
    """The error of a path that can't be read or written."""
    hint = "Run it as root." if isinstance(error, PermissionError) else "Mend that, then run it again."
    return LetsbeError("path_unusable", f"{path}: {error.strerror}", hint=hint)


def _differences(found: os.stat_result, mode: int, owner: Owner | None) -> list[str]:
    wrong = []
    if stat.S_IMODE(found.st_mode) != mode:
        wrong.append(f"mode {stat.S_IMODE(found.st_mode):04o}, not {mode:04o}")
    if owner is not None and os.geteuid() == 0 and (found.st_uid, found.st_gid) != owner:
        wrong.append(f"owner {found.st_uid}:{found.st_gid}, not {owner[0]}:{owner[1]}")
    return wrong


def _make_directory(full: str, mode: int, owner: Owner | None) -> None:
    _make_parents(full)
    try:
        make_directory(full, mode)
        _apply_at(full, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, mode, owner)
    except OSError as error:
        raise unusable(full, error) from error


def _make_parents(full: str) -> None:
    """The directories above, as anybody may enter them: the agent's own umask would make them private."""
    parent = os.path.dirname(full)
    if not os.path.isdir(parent):
        _make_directory(parent, 0o755, None)


def _apply_at(full: str, flags: int, mode: int, owner: Owner | None) -> None:
    try:
        descriptor = os.open(full, flags | os.O_CLOEXEC)
    except OSError as error:
        raise unusable(full, error) from error
    try:
        _apply(descriptor, mode, owner)
    finally:
        os.close(descriptor)


def _apply(descriptor: int, mode: int, owner: Owner | None) -> None:
    if owner is not None and os.geteuid() == 0:
        os.fchown(descriptor, *owner)
    os.fchmod(descriptor, mode)
