"""Carrying a write or a removal out: announced before its first effect, checked right before the one that counts."""

from __future__ import annotations

import errno
import os
import stat

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host import opening, replacing
from letsbe.host.beneath import Place, refused
from letsbe.host.directories import sync_directory
from letsbe.host.file_types import ANY, Change, ChangeRecorder, Expectation, FileContent, PendingChange
from letsbe.host.kernel_filesystems import kernel_filesystem
from letsbe.host.os_errors import shown
from letsbe.host.replacing import Attributes


class PlannedWrite(Struct, frozen=True, kw_only=True):
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
        """The file holds the content already."""
        return self.before is not None and self.before.content == self.content

    @property
    def re_owns(self) -> bool:
        """Whether the existing file gets another mode or owner."""
        return self.before is not None and self.wanted != Attributes(
            mode=self.before.stat.mode, uid=self.before.stat.uid, gid=self.before.stat.gid
        )

    @property
    def changes_nothing(self) -> bool:
        """Content, mode and owner are there already."""
        return self.same_content and not self.re_owns

    @property
    def replaces(self) -> bool:
        """Whether a new file takes the place of the old one; else the file itself is written or re-owned."""
        return not self.in_place and not self.same_content

    @property
    def change(self) -> Change:
        """What it comes to."""
        return Change(
            path=self.place.canonical,
            before_sha256=self.before.sha256 if self.before else None,
            after_sha256=self.after_sha256,
            changed=not self.changes_nothing,
            in_place=self.in_place,
        )


class Announcer:
    """Tells the recorder, if there is one."""

    def __init__(self, recorder: ChangeRecorder | None) -> None:
        self._recorder = recorder

    def about_to_change(
        self, place: Place, before: FileContent | None, after_sha256: str | None, temp_path: str | None
    ) -> int:
        """A change comes; durable when it returns."""
        if self._recorder is None:
            return 0
        change = PendingChange(path=place.canonical, before=before, after_sha256=after_sha256, temp_path=temp_path)
        return self._recorder.about_to_change(change)

    def settled(self, ticket: int) -> None:
        """It is on disk, or not even begun."""
        if self._recorder is not None:
            self._recorder.settled(ticket)


def carry_out(write: PlannedWrite, announcer: Announcer) -> None:
    """Replace the file, or write or re-own it as it is."""
    if write.replaces:
        _replace(write, announcer)
    else:
        _overwrite(write, announcer)


def remove(place: Place, before: FileContent, announcer: Announcer) -> None:
    """Remove a file, durably."""
    require_writable(place.directory, os.path.dirname(place.canonical))
    ticket = announcer.about_to_change(place, before, None, None)
    _require_same(place, before)
    os.unlink(place.name, dir_fd=place.directory)
    sync_directory(place.directory)
    announcer.settled(ticket)


def require_possible(write: PlannedWrite) -> None:
    """Raise what would make a write fail half-way."""
    place = write.place
    opening.require_directory(place)
    if write.replaces:
        require_writable(place.directory, os.path.dirname(place.canonical))
    if write.gives_away and (write.replaces or write.re_owns):
        hint = "Run letsbe as root, or write in_place, which keeps the owner."
        replacing.require_ownable(place.canonical, write.wanted, hint)


def _replace(write: PlannedWrite, announcer: Announcer) -> None:
    place = write.place
    temporary = replacing.temporary_name(place.name)
    temp_path = os.path.join(os.path.dirname(place.canonical), temporary)
    ticket = announcer.about_to_change(place, write.before, write.after_sha256, temp_path)
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
    announcer.settled(ticket)


def _overwrite(write: PlannedWrite, announcer: Announcer) -> None:
    assert write.before is not None  # noqa: S101 - only an existing file is written in place
    place, before = write.place, write.before
    ticket = announcer.about_to_change(place, before, write.after_sha256, None)
    same = before.content == write.content
    with opening.regular_file(place, os.O_RDONLY if same else os.O_RDWR) as (descriptor, _):
        try:
            _require_same(place, before)
        except LetsbeError:
            announcer.settled(ticket)  # what is there is another's: nobody shall take it for half of this write
            raise
        if not same:
            replacing.write_in_place(descriptor, before.content, write.content)
        replacing.apply_owner(descriptor, write.wanted)
        if replacing.attributes_of(os.fstat(descriptor)) != write.wanted:
            os.fchmod(descriptor, write.wanted.mode)
        os.fsync(descriptor)
    announcer.settled(ticket)


def wanted_attributes(
    place: Place, before: FileContent | None, perms: int | None, owner: tuple[int, int] | None
) -> Attributes:
    """Mode, owner and group: as given, else those of the existing file, else the process's and the directory's."""
    if before is not None:
        uid, gid = owner or (before.stat.uid, before.stat.gid)
        return Attributes(mode=before.stat.mode if perms is None else perms, uid=uid, gid=gid)
    directory = os.fstat(place.directory)
    group = directory.st_gid if directory.st_mode & stat.S_ISGID and not place.missing else os.getegid()
    uid, gid = owner or (os.geteuid(), group)
    return Attributes(mode=0o600 if perms is None else perms, uid=uid, gid=gid)


def require_expected(place: Place, before: FileContent | None, expect: Expectation) -> None:
    """Raise ``changed_meanwhile`` when the file holds something else than the caller took for granted."""
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


def require_writable(directory: int, path: str) -> None:
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
