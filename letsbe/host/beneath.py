"""Reaching a path below an allowed root, whatever others do to the directories meanwhile.

A path is walked from an open descriptor of its root, so that each step starts from a directory that is held, never from
a string that may mean something else by now. openat2(2) does it in one step where the kernel has it and no symlink is
on the way; else one component after the other is opened with O_NOFOLLOW and symlinks are resolved here: they may lead
anywhere below this or another allowed root, and nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host.openat2 import open_directory_beneath
from letsbe.host.os_errors import os_error, shown

MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255
#: As many symlinks on one way as the kernel follows.
MAX_SYMLINKS = 40

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place(Struct, frozen=True, kw_only=True):
    """Where a file is, or would be: its name in an open directory. The name is no symlink when it was looked at.

    ``missing`` lists the directories that would have to be made below the open one, outermost first; ``name`` is ``.``
    for a root itself.
    """

    directory: int
    name: str
    #: The path without symlinks, for locks, journal and messages.
    canonical: str
    missing: tuple[str, ...] = ()


class Roots:
    """The directories below which files may be touched; with ``only``, nothing but what is below these parts of them.

    A part is no root of its own: the walk to it begins at the root above it, so whoever may write there can't put a
    symlink in its place.
    """

    def __init__(self, roots: Sequence[str], only: Sequence[str] | None = None) -> None:
        self._configured = tuple(os.path.normpath(root) for root in roots)
        self._only = only
        #: Prefix -> real path: a root is known by its own name and by its real path.
        self._prefixes: dict[str, str] = {}

    @contextmanager
    def place(self, path: str, *, follow: bool = True) -> Iterator[Place]:
        """Walk to a path; its directory stays open inside the block.

        Raises ``path_refused``, ``root_missing``, ``not_a_directory`` and ``permission_denied``. With ``follow`` false
        the last component may be a symlink.
        """
        walk = _Walk(self, path, follow=follow)
        try:
            self.require_part(walk.canonical, path)
            found = walk.to_end()
            self.require_part(found.canonical, path)
            yield found
        finally:
            walk.close()

    def split(self, path: str, asked: str) -> tuple[str, list[str]]:
        """The real path of the root that ``path`` is below, and the components below that.

        ``asked`` is the path that the caller named, for messages.
        """
        path = "/" + "/".join(components(path))
        best = ""
        for prefix in self._known():
            if _is_in(path, prefix) and len(prefix) > len(best):
                best = prefix
        if not best:
            link = "" if path == asked else f", a symlink on the way leads to {shown(path)}"
            raise refused(
                asked,
                f"not below an allowed root ({', '.join(self._configured) or 'none is configured'}){link}",
                "Use a path below a root, or have an administrator add one to `roots` in the configuration.",
            )
        return self._known()[best], components(path.removeprefix(best))

    def require_part(self, canonical: str, asked: str) -> None:
        """Raise ``path_refused`` unless a path without symlinks is in one of the parts; ``asked`` is for messages."""
        if self._only is None or any(_is_in(canonical, self._real(part)) for part in self._only):
            return
        link = "" if canonical == asked else f", a symlink on the way leads to {shown(canonical)}"
        raise refused(
            asked,
            f"outside the paths of the key that signed this task ({', '.join(self._only) or 'none'}){link}",
            "Use a key that may work there; keys and their paths are under orchestrator.trusted_keys.",
        )

    def _real(self, part: str) -> str:
        """A part by the real path of the root above it."""
        for prefix, real in self._known().items():
            if _is_in(part, prefix):
                return real + part.removeprefix(prefix)
        return part

    def holds(self, path: str) -> bool:
        """Whether an absolute path without symlinks is that of a root, or of something below one."""
        return any(_is_in(path, prefix) for prefix in self._known())

    def _known(self) -> dict[str, str]:
        if not self._prefixes:
            for root in self._configured:
                # a root inside another one adds nothing, and could be swapped by whoever may write to the outer one
                if any(_is_in(root, other) for other in self._configured if other != root):
                    continue
                real = os.path.realpath(root)
                self._prefixes[root] = real
                self._prefixes[real] = real
        return self._prefixes


class _Walk:
    """One walk: a descriptor, the names that led to it, and what is still to go."""

    def __init__(self, roots: Roots, path: str, *, follow: bool) -> None:
        check_text(path)
        self._roots = roots
        self._path = path
        self._follow = follow
        self._root, self._pending = roots.split(path, path)
        if ".." in self._pending:
            raise refused(path, "`..` is not followed", "Write the path without it.")
        self._names: list[str] = []
        self._links = 0
        self._descriptor = -1
        self._move(self._open_root())

    @property
    def canonical(self) -> str:
        """As far as the walk has come, and what is still to go."""
        return self._canonical(*self._pending)

    def close(self) -> None:
        """Close what is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def to_end(self) -> Place:
        """The place of the last component."""
        self._stride()
        while self._pending:
            name = self._pending.pop(0)
            if name == "..":
                self._ascend()
                continue
            if not self._pending and not self._follow:
                return self._place(name)
            kind = self._kind(name)
            if kind is None:
                return self._place_of_missing(name)
            if stat.S_ISLNK(kind):
                self._redirect(name)
            elif not self._pending:
                return self._place(name)
            else:
                self._enter(name, kind)
        return self._place(".")

    def _stride(self) -> None:
        """All directories in one system call, when that is possible."""
        if len(self._pending) < 2:
            return
        found = open_directory_beneath(self._descriptor, "/".join(self._pending[:-1]))
        if found is not None:
            self._move(found)
            self._names = self._pending[:-1]
            self._pending = self._pending[-1:]

    def _kind(self, name: str) -> int | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        except OSError as error:
            raise os_error(self._canonical(name), error) from error

    def _enter(self, name: str, kind: int) -> None:
        if not stat.S_ISDIR(kind):
            raise LetsbeError(
                "not_a_directory",
                f"{shown(self._path)}: {shown(self._canonical(name))} is no directory",
                hint="Check the path.",
            )
        try:
            self._move(os.open(name, _DIRECTORY, dir_fd=self._descriptor))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise self._unsteady() from None
            raise os_error(self._canonical(name), error) from error
        self._names.append(name)

    def _redirect(self, name: str) -> None:
        """Go on with what a symlink points at."""
        self._links += 1
        if self._links > MAX_SYMLINKS:
            raise refused(self._path, f"more than {MAX_SYMLINKS} symlinks on the way", "Remove the loop.")
        try:
            target = os.readlink(name, dir_fd=self._descriptor)
        except OSError:
            raise self._unsteady() from None
        check_names(target, self._path)
        if target.startswith("/"):
            self._restart(target)
        else:
            self._pending = components(target) + self._pending

    def _ascend(self) -> None:
        """``..`` in a symlink: walk anew to the parent, since a held directory may have been moved meanwhile."""
        parent = os.path.dirname(self._canonical())
        while self._pending and self._pending[0] == "..":
            parent = os.path.dirname(parent)
            self._pending.pop(0)
        self._restart(parent)

    def _restart(self, path: str) -> None:
        """Walk anew to ``path`` and from there to what is pending."""
        self._root, self._pending = self._roots.split("/".join([path.rstrip("/"), *self._pending]) or "/", self._path)
        self._names = []
        self._move(self._open_root())

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LetsbeError(
                "root_missing",
                f"the allowed root {self._root} can't be opened: {error.strerror}",
                hint="Create the directory, or change `roots` in the configuration.",
            ) from error

    def _move(self, descriptor: int) -> None:
        self.close()
        self._descriptor = descriptor

    def _place(self, name: str) -> Place:
        return Place(directory=self._descriptor, name=name, canonical=self._canonical(name))

    def _place_of_missing(self, name: str) -> Place:
        rest = [name, *self._pending]
        if ".." in rest:
            missing = shown(self._canonical(name))
            raise LetsbeError("file_not_found", f"{missing} does not exist", hint="Check the path.")
        return Place(
            directory=self._descriptor, name=rest[-1], canonical=self._canonical(*rest), missing=tuple(rest[:-1])
        )

    def _canonical(self, *names: str) -> str:
        return "/".join([self._root.rstrip("/"), *self._names, *(name for name in names if name != ".")]) or "/"

    def _unsteady(self) -> LetsbeError:
        return refused(
            self._path,
            "a directory on the way was exchanged while it was walked",
            "Somebody works on these directories; run again.",
        )


def _is_in(path: str, directory: str) -> bool:
    """Whether a path is that of a directory, or of something below it, by their names."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def components(path: str) -> list[str]:
    """The names in a path; empty ones and ``.`` mean nothing."""
    return [name for name in path.split("/") if name not in ("", ".")]


def check_text(path: str) -> None:
    """Refuse a path that is none by its spelling alone; ``path_refused`` with the reason."""
    if not path.startswith("/"):
        raise refused(path, "not an absolute path", "Begin it with /.")
    check_names(path, path)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise refused(path, f"longer than {MAX_PATH_BYTES} bytes", "Use a shorter path.")
    for name in components(path):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise refused(path, f"a name of more than {MAX_NAME_BYTES} bytes", "Use a shorter name.")


def check_names(text: str, path: str) -> None:
    """Refuse what no name in an outcome or a log may hold. ``text`` is ``path``, or a symlink's target on its way."""
    if "\0" in text:
        raise refused(path, "holds a NUL character", "Remove it.")
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise refused(path, "holds a newline or another control character", "Rename the file.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise refused(path, "is not UTF-8", "Rename the file.") from None


def refused(path: str, reason: str, hint: str) -> LetsbeError:
    """``path_refused`` with its reason."""
    details = {"path": shown(path), "reason": reason}
    return LetsbeError("path_refused", f"{shown(path)}: {reason}", hint=hint, details=details)
