"""Giving a file new content: whole beside it and renamed over it, or in place."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host.beneath import MAX_NAME_BYTES, Place, refused
from letsbe.host.os_errors import shown

_TEMPORARY = re.compile(r"\..*\.letsbe-[0-9a-f]{16}", re.S)
#: Hexadecimal digits at the end.
_RANDOM = 16
_SUFFIX_BYTES = len(".letsbe-") + _RANDOM
#: They describe the old bytes.
_NOT_KEPT = frozenset({"security.ima", "security.evm"})
_ACL = "system.posix_acl_access"


class Attributes(Struct, frozen=True, kw_only=True):
    """Mode, owner and group that a file shall have."""

    mode: int
    uid: int
    gid: int


def temporary_name(name: str) -> str:
    """A fresh ``.{name}.letsbe-{random}``, at most 255 bytes long: what a crash leaves can be told by its name."""
    return f"{_beginning(name)}{os.urandom(_RANDOM // 2).hex()}"


def is_temporary_name(name: str, of: str | None = None) -> bool:
    """Whether a name is one of ours; with ``of``, for a file of that name."""
    return _TEMPORARY.fullmatch(name) is not None and (of is None or name[:-_RANDOM] == _beginning(of))


def _beginning(name: str) -> str:
    room = MAX_NAME_BYTES - _SUFFIX_BYTES - 1
    kept = os.fsencode(name)[:room].decode("utf-8", "ignore")
    return f".{kept}.letsbe-"


def require_ownable(path: str, wanted: Attributes, hint: str) -> None:
    """Raise ``permission_denied`` when this process may not give a file to the wanted owner."""
    if os.geteuid() == 0:
        return
    if wanted.uid == os.geteuid() and wanted.gid in (os.getegid(), *os.getgroups()):
        return
    raise LetsbeError(
        "permission_denied",
        f"{shown(path)} should belong to {wanted.uid}:{wanted.gid}; user {os.geteuid()} can't give files to others",
        hint=hint,
    )


def write_temporary(place: Place, name: str, content: bytes, wanted: Attributes, model: int | None) -> tuple[int, int]:
    """Write content under a temporary name, with the wanted attributes, and on disk; returns its device and inode.

    ``model`` is a descriptor of the file that it will replace: its extended attributes (ACL, SELinux label) are kept.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=place.directory)
    try:
        write_all(descriptor, content)
        apply_owner(descriptor, wanted)
        if model is not None:
            _copy_attributes(place.canonical, model, descriptor)
        os.fchmod(descriptor, wanted.mode)  # after the owner, which clears bits, and the ACL, whose mask it is
        os.fsync(descriptor)
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write content from the descriptor's position on."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_in_place(descriptor: int, before: bytes, content: bytes) -> None:
    """Overwrite an open file, keeping its inode; puts ``before`` back when that fails (a full disk).

    Not atomic: a reader may see both, and a crash may leave a mixture.
    """
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    except BaseException:
        os.lseek(descriptor, 0, os.SEEK_SET)
        write_all(descriptor, before)
        os.ftruncate(descriptor, len(before))
        os.fsync(descriptor)
        raise


def apply_owner(descriptor: int, wanted: Attributes) -> None:
    """Give an open file to its owner unless it is his."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
        os.fchown(descriptor, wanted.uid, wanted.gid)


def attributes_of(status: os.stat_result) -> Attributes:
    """Those of a file."""
    return Attributes(mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid)


def _copy_attributes(path: str, source: int, target: int) -> None:
    try:
        names = set(os.listxattr(source)) - _NOT_KEPT
    except OSError:
        return  # the file system has none
    for inherited in set(os.listxattr(target)) - names:
        if not inherited.startswith("security."):
            os.removexattr(target, inherited)  # a default ACL of the directory, which the old file was without
    for name in names:
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if name == _ACL:
                hint = "Run as root, or remove the ACL with setfacl -b."
                raise refused(path, "its ACL can't be kept", hint) from error
            if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENODATA):
                raise


def remove_quietly(directory: int, name: str) -> None:
    """Remove a name if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
