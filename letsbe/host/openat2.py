"""openat2(2), which Python does not offer. Kernels since 5.6 have it; some container runtimes forbid it."""

from __future__ import annotations

import os

_SYSCALL_NUMBER = 437  # the same on every architecture that Linux has
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
_IN_ROOT = 0x10


def open_directory_beneath(root: int, relative: str) -> int | None:
    """An O_PATH descriptor of a directory below the descriptor ``root``, reached through no symlink.

    None when it can't be had this way: something is missing or a symlink, or the kernel lacks the call. The slow walk
    then does the same work and tells what is wrong.
    """
    return _openat2(root, relative, os.O_PATH | os.O_DIRECTORY, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)


def open_in_root(root: int, path: str) -> int | None:
    """An O_PATH descriptor of what a process with the root directory ``root`` finds at a path; symlinks stay below it.

    None when there is nothing, or the kernel lacks the call.
    """
    return _openat2(root, path, os.O_PATH, _IN_ROOT | _NO_MAGICLINKS)


def _openat2(directory: int, path: str, flags: int, resolve: int) -> int | None:
    import ctypes  # costs milliseconds, which `letsbe echo` must not pay

    class OpenHow(ctypes.Structure):
        _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    how = OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    found = syscall(
        ctypes.c_long(_SYSCALL_NUMBER),
        ctypes.c_long(directory),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    return int(found) if found >= 0 else None
