"""Files below the allowed roots: the only way in which executors read, write, list and remove them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host import opening, replacing
from letsbe.host.beneath import Place, Roots, refused
from letsbe.host.directories import make_directories, sync_directory
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
from letsbe.host.kernel_filesystems import kernel_filesystem
from letsbe.host.listing import entries_below
from letsbe.host.open_file import OpenFile, in_memory
from letsbe.host.os_errors import shown, told
from letsbe.host.overlay import Overlay
from letsbe.host.replacing import Attributes

__all__ = ["ANY", "Change", "ChangeRecorder", "FileContent", "FileStat", "Files", "OpenFile", "PendingChange"]

#: The largest file that is replaced: its old content is kept in memory and in the undo snapshots.
MAX_REPLACED_BYTES = 64 * 1024 * 1024


class Files:
    """Files below ``roots``.

    ``recorder`` is told of each change before its first effect. With ``check`` nothing is changed: what would have been
    written is remembered, and later reads give it.
    """

    def __init__(self, roots: Sequence[str], recorder: ChangeRecorder | None = None, *, check: bool = False) -> None:
        self._configured = tuple(roots)
        self._roots = Roots(roots)
        self._recorder = recorder
        self._overlay = Overlay() if check else None

    @property
    def roots(self) -> tuple[str, ...]:
        """The allowed roots, as configured."""
        return self._configured

    @property
    def pending(self) -> bool:
        """Whether check mode holds back changes: what is on disk is not what it would be."""
        return self._overlay is not None and not self._overlay.is_empty

    def without_recorder(self) -> Files:
        """The same roots, with no recorder and no check mode: for undo and recovery."""
        return Files(self._configured)

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
            _require_expected(place, before, expect)
            write = _Write(
                place=place,
                content=content,
                before=before,
                wanted=_wanted(place, before, perms, owner),
                gives_away=before is not None or owner is not None,
                after_sha256=sha256_of(content),
                in_place=in_place and before is not None,
            )
            if write.changes_nothing:
                return write.change
            self._require_possible(write)
            if self._overlay is not None:
                self._overlay.put(place, content, write.wanted, before)
            elif write.replaces:
                self._replace(write)
            else:
                self._overwrite(write)
            return write.change

    def make_parents(self, path: str, mode: int = 0o755) -> tuple[str, ...]:
        """Make the directories that are missing above a path, each with ``mode`` and the agent's owner.

        Returns their paths, outermost first. They are not recorded: undo leaves them, empty.
        """
        with self._place(path) as place, told(path):
            base = os.path.dirname(place.canonical).removesuffix("/".join(("", *place.missing)))
            made = tuple(os.path.join(base, *place.missing[: depth + 1]) for depth in range(len(place.missing)))
            if self._overlay is not None:
                made = tuple(directory for directory in made if not self._overlay.has_directory(directory))
                self._overlay.put_directories(made)
            elif made:
                _require_writable(place.directory, base)
                make_directories(place.directory, place.missing, mode)
            return made

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
                return change
            _require_writable(place.directory, os.path.dirname(place.canonical))
            ticket = self._announce(place, before, None, None)
            _require_same(place, before)
            os.unlink(place.name, dir_fd=place.directory)
            sync_directory(place.directory)
            self._done(ticket)
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
            _require_writable(place.directory, os.path.dirname(place.canonical))
            before = self._read(place, MAX_REPLACED_BYTES)
            name = replacing.temporary_name(place.name)
            temporary = os.path.join(os.path.dirname(place.canonical), name)
            self._announce(place, before, sha256_of(content), temporary)
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

    def _require_possible(self, write: _Write) -> None:
        """Raise what would make the write fail half-way."""
        place = write.place
        if self._overlay is not None and self._overlay.has_directory(os.path.dirname(place.canonical)):
            return
        opening.require_directory(place)
        if write.replaces:
            _require_writable(place.directory, os.path.dirname(place.canonical))
        if write.gives_away and (write.replaces or write.re_owns):
            hint = "Run letsbe as root, or write in_place, which keeps the owner."
            replacing.require_ownable(place.canonical, write.wanted, hint)

    def _replace(self, write: _Write) -> None:
        place = write.place
        temporary = replacing.temporary_name(place.name)
        temp_path = os.path.join(os.path.dirname(place.canonical), temporary)
        ticket = self._announce(place, write.before, write.after_sha256, temp_path)
        try:
            if write.before is None:
                replacing.write_temporary(place, temporary, write.content, write.wanted, None)
            else:
                with opening.regular_file(place) as (model, _):
                    replacing.write_temporary(place, temporary, write.content, write.wanted, model)
            _require_same(place, write.before)
            os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        except BaseException:
            replacing.remove_quietly(place.directory, temporary)
            raise
        sync_directory(place.directory)
        self._done(ticket)

    def _overwrite(self, write: _Write) -> None:
        assert write.before is not None  # noqa: S101 - only an existing file is written in place
        place, before = write.place, write.before
        ticket = self._announce(place, before, write.after_sha256, None)
        same = before.content == write.content
        with opening.regular_file(place, os.O_RDONLY if same else os.O_RDWR) as (descriptor, _):
            _require_same(place, before)
            if not same:
                replacing.write_in_place(descriptor, before.content, write.content)
            replacing.apply_owner(descriptor, write.wanted)
            if replacing.attributes_of(os.fstat(descriptor)) != write.wanted:
                os.fchmod(descriptor, write.wanted.mode)
            os.fsync(descriptor)
        self._done(ticket)

    def _announce(
        self, place: Place, before: FileContent | None, after_sha256: str | None, temp_path: str | None
    ) -> int:
        if self._recorder is None:
            return 0
        change = PendingChange(path=place.canonical, before=before, after_sha256=after_sha256, temp_path=temp_path)
        return self._recorder.about_to_change(change)

    def _done(self, ticket: int) -> None:
        if self._recorder is not None:
            self._recorder.changed(ticket)


class _Write(Struct, frozen=True, kw_only=True):
    """A write that is wanted, and what is there before it."""

    place: Place
    content: bytes
    before: FileContent | None
    wanted: Attributes
    #: The owner is not just what a new file gets by itself.
    gives_away: bool
    after_sha256: str
    in_place: bool

    @property
    def same_content(self) -> bool:
        return self.before is not None and self.before.content == self.content

    @property
    def re_owns(self) -> bool:
        """Whether the existing file gets another mode or owner."""
        return self.before is not None and self.wanted != Attributes(
            mode=self.before.stat.mode, uid=self.before.stat.uid, gid=self.before.stat.gid
        )

    @property
    def changes_nothing(self) -> bool:
        return self.same_content and not self.re_owns

    @property
    def replaces(self) -> bool:
        """Whether a new file takes the place of the old one; else the file itself is written or re-owned."""
        return not self.in_place and not self.same_content

    @property
    def change(self) -> Change:
        return Change(
            path=self.place.canonical,
            before_sha256=self.before.sha256 if self.before else None,
            after_sha256=self.after_sha256,
            changed=not self.changes_nothing,
            in_place=self.in_place,
        )


def _not_found(path: str) -> LetsbeError:
    return LetsbeError(
        "file_not_found",
        f"{shown(path)}: does not exist",
        hint="Check the path; FILE_INSPECT with mode list shows what is there.",
    )


def _wanted(place: Place, before: FileContent | None, perms: int | None, owner: tuple[int, int] | None) -> Attributes:
    if before is not None:
        uid, gid = owner or (before.stat.uid, before.stat.gid)
        return Attributes(mode=before.stat.mode if perms is None else perms, uid=uid, gid=gid)
    directory = os.fstat(place.directory)
    group = directory.st_gid if directory.st_mode & stat.S_ISGID and not place.missing else os.getegid()
    uid, gid = owner or (os.geteuid(), group)
    return Attributes(mode=0o600 if perms is None else perms, uid=uid, gid=gid)


def _require_expected(place: Place, before: FileContent | None, expect: Expectation) -> None:
    if expect is ANY:
        return
    if (before.content if before else None) != (expect.content if expect else None):
        raise _changed_meanwhile(place)


def _require_same(place: Place, before: FileContent | None) -> None:
    """Right before the effect: is it still the file that was read?"""
    try:
        status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        now = None
    else:
        now = opening.status_of(place.canonical, status)
    if now != (before.stat if before else None):
        raise _changed_meanwhile(place)


def _changed_meanwhile(place: Place) -> LetsbeError:
    return LetsbeError(
        "changed_meanwhile",
        f"{shown(place.canonical)} was changed by somebody else meanwhile; it was left alone",
        hint="Run again: it starts from what is there now.",
    )


def _require_writable(directory: int, path: str) -> None:
    """Raise before any effect when nothing can be made in a directory."""
    if (kernel := kernel_filesystem(directory)) is not None:
        raise refused(path, f"on the kernel's {kernel} file system", "Only real files are written.")
    if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
        raise LetsbeError(
            "permission_denied",
            f"nothing can be made in {shown(path)}: the directory is not writable",
            hint="The agent's user needs rights on it.",
        )
