"""What is different inside the built file: the only package that knows how it was packed.

PyInstaller's one-file programs run as two processes: the first unpacks the archive's ordinary entries into a fresh
``_MEIxxxxxx`` directory below TMPDIR, the second is the agent (``sys._MEIPASS`` names that directory), and the first
removes it in the end. From source every function here does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

#: The first file that is unpacked. It marks a directory as letsbe's own, and its lock says that the agent lives.
MARKER = ".letsbe"

#: Exported by the first process for the second; a child of the agent that is itself letsbe must start afresh.
_BOOT_VARIABLES = (
    "_PYI_ARCHIVE_FILE",
    "_PYI_APPLICATION_HOME_DIR",
    "_PYI_PARENT_PROCESS_LEVEL",
    "_PYI_LINUX_PROCESS_NAME",
    "_PYI_SPLASH_IPC",
)

#: The marker's descriptor, kept open because closing it gives the lock up.
_held: int | None = None


def unpack_dir() -> str | None:
    """The directory that this process was unpacked into; None from source."""
    directory: str | None = getattr(sys, "_MEIPASS", None)
    return directory


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` as a child process should have it: without what the built file set for itself.

    The library path is the one that the agent's caller had, or absent when there was none; else every child would load
    the libraries that were unpacked for the agent.
    """
    directory = unpack_dir()
    if directory is None:
        return dict(env)
    child = {name: value for name, value in env.items() if name not in _BOOT_VARIABLES}
    ours, _, callers = child.get("LD_LIBRARY_PATH", "").partition(":")
    if ours == directory:
        del child["LD_LIBRARY_PATH"]
        if callers:
            child["LD_LIBRARY_PATH"] = callers
            child.pop("LD_LIBRARY_PATH_ORIG", None)
    return child


def begin() -> None:
    """Prepare this process, before anything else is imported: the built file's start hook calls it."""
    hold_unpack_dir()
    import encodings

    encodings.__path__.append(f"{unpack_dir()}/encodings")  # most encodings are among the modules of the archive
    from letsbe.frozen.cold import ColdFinder

    sys.meta_path.append(ColdFinder())


def hold_unpack_dir() -> None:
    """Lock the marker, so that a sweeper can tell this directory from an orphan, for as long as this process lives.

    The directory is also made sticky, which changes nothing in it but is still to be seen when a removal that was
    killed half-way took the marker.
    """
    global _held
    directory = unpack_dir()
    if directory is None or _held is not None:
        return
    try:
        os.chmod(directory, 0o1700)
        _held = os.open(f"{directory}/{MARKER}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.lockf(_held, os.F_TLOCK, 0)
    except OSError:  # somebody removed it meanwhile, or an ancestor that shares the directory holds it: both are theirs
        return


def leave(code: int | str | None) -> NoReturn:
    """End the built file's process as ``sys.exit(code)`` would, without dismantling the interpreter.

    Freeing every module and object takes 10 ms, a sixth of ``letsbe echo``, and the process ends anyway. What others
    registered for the end runs, and what was written is flushed.
    """
    if isinstance(code, str):
        print(code, file=sys.stderr)
    status = 0 if code is None else code if isinstance(code, int) else 1
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()  # joins threads, as the interpreter does first
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or 120  # as the interpreter has it for output that was lost
    os._exit(status & 0xFF)


def sweep_orphans() -> list[str]:
    """Remove what killed runs of this user left in the temporary directories; returns the directories removed."""
    if unpack_dir() is None:
        return []
    from letsbe.frozen.sweep import sweep

    return sweep()
