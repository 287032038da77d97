"""Files below the allowed roots: the only way in which executors read, write, list and remove them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from letsbe.errors import LetsbeError
from letsbe.host import opening, replacing, writing
from letsbe.host.beneath import Place, Roots, refused
from letsbe.host.directories import make_directories, remove_empty_directory
from letsbe.host.file_types import (
    ANY,
    Change,
    ChangeRecorder,
    Expectation,
    FileContent,
    FileStat,
    PendingChange,
    sha256_of,
)
from letsbe.host.listing import entries_below
from letsbe.host.open_file import OpenFile, in_memory
from letsbe.host.os_errors import shown, told
from letsbe.host.overlay import Overlay
from letsbe.host.replacing import Attributes
from letsbe.host.writing import (
    Announcer,
    PlannedWrite,
    carry_out,
    require_expected,
    require_possible,
    require_writable,
    wanted_attributes,
)

__all__ = ["ANY", "Change", "ChangeRecorder", "FileContent", "FileStat", "Files", "OpenFile", "PendingChange"]

#: The largest file that is replaced: its old content is kept in memory and in the undo snapshots.
MAX_REPLACED_BYTES = 64 * 1024 * 1024


class Files:
    """Files below ``roots``; with ``only``, below these parts of them.

    ``recorder`` is told of each change before its first effect. With ``check`` nothing is changed: what would have been
    written is remembered, and later reads give it.
    """

    def __init__(
        self,
        roots: Sequence[str],
        recorder: ChangeRecorder | None = None,
        *,
        only: Sequence[str] | None = None,
        check: bool = False,
    ) -> None:
        self._configured = tuple(roots)
        self._only = only
        self._roots = Roots(roots, only)
        self._announcer = Announcer(recorder)
        self._overlay = Overlay() if check else None

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories below which this run may work, as configured: the roots, or its parts of them."""
        return self._configured if self._only is None else tuple(self._only)

    @property
    def pending(self) -> bool:
        """Whether check mode holds back changes: what is on disk is not what it would be."""
        return self._overlay is not None and not self._overlay.is_empty

    def without_recorder(self) -> Files:
        """The same roots, with no recorder and no check mode: for undo and recovery."""
        return Files(self._configured, only=self._only)

    def canonical(self, path: str) -> str:
        """The path without symlinks, whether or not it exists: one file has one name in locks and journal."""
        with self._place(path) as place:
            return place.canonical

    def read(self, path: str, *, max_bytes: int) -> FileContent:
        """A regular file, whole. ``file_not_found``, ``file_too_large``, ``path_refused``."""
        found = self.read_or_none(path, max_bytes=max_bytes)
        if found is None:
            raise _not_found(path)
        return found

    def read_or_none(self, path: str, *, max_bytes: int) -> FileContent | None:
        """A regular file, whole; None when it does not exist."""
        with self._place(path) as place, told(path):
            return self._read(place, max_bytes)

    @contextmanager
    def open(self, path: str) -> Iterator[OpenFile]:
        """A regular file, to read parts of."""
        with self._place(path) as place, told(path):
            if self._overlay is not None and (found := self._overlay.get(place.canonical)) is not ANY:
                if found is None:
                    raise _not_found(path)
                yield OpenFile(found.stat, content=found.content)
                return
            if place.missing:
                raise _not_found(path)
            with opening.regular_file(place) as (descriptor, status):
                yield OpenFile(opening.status_of(place.canonical, status), descriptor=descriptor)

    def stat(self, path: str, follow: bool = True) -> FileStat:
        """Type, size, mode, owner and times of anything; of a symlink itself unless ``follow``."""
        with self._place(path, follow=follow) as place, told(path):
            if self._overlay is not None and (found := self._overlay.get(place.canonical)) is not ANY:
                if found is None:
                    raise _not_found(path)
                return found.stat
            if place.missing:
                raise _not_found(path)
            status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
            return opening.status_of(place.canonical, status)

    def exists(self, path: str) -> bool:
        """Whether anything is there; a symlink counts as what it leads to."""
        try:
            self.stat(path)
        except LetsbeError as error:
            if error.code != "file_not_found":
                raise
            return False
        return True

    @contextmanager
    def directory(self, path: str) -> Iterator[str]:
        """A directory as a path by which a child process can enter it, whatever happens to its name meanwhile."""
        with self._place(path) as place, told(path):
            if place.missing:
                raise _not_found(path)
            descriptor = os.open(
                place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.directory
            )
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)

    @contextmanager
    def handed(self, path: str) -> Iterator[tuple[str, int]]:
        """An existing file or directory for a child process to open, whatever happens to its name meanwhile.

        Gives the name by which the child reaches it, and the descriptor that it has to inherit for that.
        """
        with self._place(path) as place, told(path):
            if self._overlay is not None and isinstance(found := self._overlay.get(place.canonical), FileContent):
                with in_memory(found.content) as descriptor:
                    yield f"/proc/self/fd/{descriptor}", descriptor
                return
        if self.stat(path).type == "directory":
            with self.directory(path) as name:
                yield f"{name}/", int(name.rpartition("/")[2])
            return
        with self._place(path) as place, told(path), opening.regular_file(place) as (descriptor, _):
            yield f"/proc/self/fd/{descriptor}", descriptor

    def is_below_root(self, path: str) -> bool:
        """Whether an absolute path without symlinks names something below a root."""
        return self._roots.holds(path)

    def list(self, path: str, max_depth: int, max_entries: int) -> list[FileStat]:
        """What is below a directory, by name, with paths relative to it; symlinks are named, not followed.

        ``max_depth`` 1 is the directory's own entries. At most ``max_entries`` come back.
        """
        with self._place(path) as place, told(path):
            if place.missing:
                raise _not_found(path)
            found = entries_below(place, max_depth, max_entries)
            if self._overlay is not None:
                found = self._overlay.applied_to(place.canonical, found, max_depth)[:max_entries]
            return found

    def write(
        self,
        path: str,
        content: bytes,
        *,
        perms: int | None = None,
        owner: tuple[int, int] | None = None,
        in_place: bool = False,
        expect: Expectation = ANY,
    ) -> Change:
        """Give a file new content, atomically: readers see the old or the new, and so does a crash.

        Mode, owner and extended attributes of an existing file are kept unless given; a new one gets ``perms`` or 0600.
        When content, mode and owner are there already, nothing is touched. ``in_place`` overwrites the same inode,
        which is not atomic; it is for files that something holds by inode (a bind mount). ``expect`` is what the file
        must hold (None: it must not exist); ``changed_meanwhile`` when it holds something else, or is changed by others
        before the rename. The parent directory must exist.
        """
        with self._place(path) as place, told(path):
            before = self._read(place, MAX_REPLACED_BYTES)
            require_expected(place, before, expect)
            write = PlannedWrite(
                place=place,
                content=content,
                before=before,
                wanted=wanted_attributes(place, before, perms, owner),
                gives_away=before is not None or owner is not None,
                after_sha256=sha256_of(content),
                in_place=in_place and before is not None,
            )
            if write.changes_nothing:
                return write.change
            if self._overlay is None or not self._overlay.has_directory(os.path.dirname(place.canonical)):
                require_possible(write)
            if self._overlay is not None:
                self._overlay.put(place, content, write.wanted, before)
            else:
                carry_out(write, self._announcer)
            return write.change

    def make_parents(self, path: str, mode: int = 0o755) -> tuple[str, ...]:
        """Make the directories that are missing above a path, each with ``mode`` and the agent's owner.

        Returns their paths, outermost first. They are not recorded: undoing the run leaves them, empty.
        """
        with self._place(path) as place, told(path):
            base = os.path.dirname(place.canonical).removesuffix("/".join(("", *place.missing)))
            made = tuple(os.path.join(base, *place.missing[: depth + 1]) for depth in range(len(place.missing)))
            if self._overlay is not None:
                made = tuple(directory for directory in made if not self._overlay.has_directory(directory))
                self._overlay.put_directories(made)
            elif made:
                require_writable(place.directory, base)
                make_directories(place.directory, place.missing, mode)
            return made

    def remove_if_empty(self, path: str) -> bool:
        """Remove a directory unless something is in it; whether it is gone. For what :meth:`make_parents` made."""
        with self._place(path, follow=False) as place, told(path):
            if self._overlay is not None or place.missing:
                return bool(place.missing)
            return remove_empty_directory(place.directory, place.name)

    def remove(self, path: str) -> Change:
        """Remove a file; nothing when there is none. A symlink is not followed but refused."""
        with self._place(path, follow=False) as place, told(path):
            before = self._read(place, MAX_REPLACED_BYTES)
            change = Change(
                path=place.canonical,
                before_sha256=before.sha256 if before else None,
                after_sha256=None,
                changed=before is not None,
            )
            if before is None:
                return change
            if self._overlay is not None:
                self._overlay.drop(place)
            else:
                writing.remove(place, before, self._announcer)
            return change

    @contextmanager
    def candidate(self, path: str, content: bytes) -> Iterator[str | None]:
        """The path of a file beside ``path`` that holds content, for a program that is to judge it; gone afterwards.

        None in check mode, and when the directory is not there.
        """
        with self._place(path) as place, told(path):
            if self._overlay is not None or place.missing:
                yield None
                return
            require_writable(place.directory, os.path.dirname(place.canonical))
            before = self._read(place, MAX_REPLACED_BYTES)
            name = replacing.temporary_name(place.name)
            temporary = os.path.join(os.path.dirname(place.canonical), name)
            self._announcer.about_to_change(place, before, sha256_of(content), temporary)
            mine = Attributes(mode=0o600, uid=os.geteuid(), gid=os.getegid())
            try:
                replacing.write_temporary(place, name, content, mine, None)
                yield temporary
            finally:
                replacing.remove_quietly(place.directory, name)

    def restore(self, path: str, before: FileContent | None) -> Change:
        """Put back what a file held, with its mode and owner; None: that there was none."""
        if before is None:
            return self.remove(path)
        owner = (before.stat.uid, before.stat.gid)
        return self.write(path, before.content, perms=before.stat.mode, owner=owner)

    def remove_temporary(self, path: str) -> None:
        """Remove what a crash left under a temporary name of ours; nothing when it is gone."""
        with self._place(path, follow=False) as place, told(path):
            if not replacing.is_temporary_name(place.name):
                raise refused(path, "no temporary file of letsbe", "Only those are removed this way.")
            if not place.missing and self._overlay is None:
                replacing.remove_quietly(place.directory, place.name)

    @contextmanager
    def _place(self, path: str, *, follow: bool = True) -> Iterator[Place]:
        with self._roots.place(path, follow=follow) as place:
            yield place

    def _read(self, place: Place, max_bytes: int) -> FileContent | None:
        if self._overlay is not None and (found := self._overlay.get(place.canonical)) is not ANY:
            if found is not None and len(found.content) > max_bytes:
                raise opening.too_large(place.canonical, len(found.content), max_bytes)
            return found
        if place.missing:
            return None
        try:
            with opening.regular_file(place) as (descriptor, status):
                content = opening.read_all(place, descriptor, status.st_size, max_bytes)
                return FileContent(content=content, stat=opening.status_of(place.canonical, status))
        except FileNotFoundError:
            return None


def _not_found(path: str) -> LetsbeError:
    return LetsbeError(
        "file_not_found",
        f"{shown(path)}: does not exist",
        hint="Check the path; FILE_INSPECT with mode list shows what is there.",
    )
