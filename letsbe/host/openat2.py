"""openat2(2), which Python does not offer. Kernels since 5.6 have it; some container runtimes forbid it."""

from __future__ import annotations

import os

_SYSCALL_NUMBER = 437  # the same on every architecture that Linux has
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08


def open_directory_beneath(root: int, relative: str) -> int | None:
    """An O_PATH descriptor of a directory below the descriptor ``root``, reached through no symlink.

    None when it can't be had this way: something is missing or a symlink, or the kernel lacks the call. The slow walk
    then does the same work and tells what is wrong.
    """
    import ctypes  # costs milliseconds, which `letsbe echo` must not pay

    class OpenHow(ctypes.Structure):
        _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    how = OpenHow(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)
    found = syscall(
        ctypes.c_long(_SYSCALL_NUMBER),
        ctypes.c_long(root),
        ctypes.c_char_p(os.fsencode(relative)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    return int(found) if found >= 0 else None
