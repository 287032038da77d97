"""Starting a child process: what it gets of the agent's, and in which words a start fails.

A child has three streams, the descriptors that the caller names, umask 022 (the agent's own 077 is for its state), a
session of its own without a terminal, and no signal blocked. What the agent was started to ignore (SIGHUP under nohup)
stays ignored, as everywhere. Of the environment it gets what :func:`clean_environment` says.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from letsbe.errors import LetsbeError

if TYPE_CHECKING:
    from subprocess import Popen

#: Where programs are looked for, whatever PATH the caller has.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Of the agent's own environment, what children get as well.
_INHERITED = ("USER", "LOGNAME", "TZ", "DOCKER_HOST")

_REASONS = {
    errno.EACCES: ("may not be executed", "chmod +x it; is its file system mounted noexec?"),
    errno.ENOEXEC: ("is no program for this machine", "A script begins with a line like #!/bin/sh."),
    errno.E2BIG: ("has too long arguments", "Pass long values in a file or on standard input."),
}


def spawn(
    argv: Sequence[str], *, cwd: str | None, feeds: bool, env: Mapping[str, str], descriptors: Sequence[int]
) -> Popen[bytes]:
    """Start a program; with ``feeds`` its standard input is a pipe. ``program_missing``, ``program_not_started``."""
    import subprocess

    program = argv[0]
    if any("\0" in word for word in (*argv, *env, *env.values())):
        raise LetsbeError(
            "program_not_started", f"{program!r}: an argument or variable holds a NUL", hint="No program takes one."
        )
    if not program.startswith("/"):
        raise LetsbeError("program_missing", f"{program!r} is no absolute path", hint="Write /usr/bin/...")
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())  # children inherit the mask
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=env,
            start_new_session=True,
            umask=0o022,
            pass_fds=descriptors,
        )
    except OSError as error:
        raise _not_started(program, cwd, error) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def clean_environment() -> dict[str, str]:
    """What every child gets: nothing of the caller's that could load code, and the library path that is its own."""
    from letsbe.frozen import child_environment

    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    library_path = child_environment(os.environ).get("LD_LIBRARY_PATH")
    if library_path:
        kept["LD_LIBRARY_PATH"] = library_path
    return {**kept, "HOME": _home(), "PATH": PATH, "LANG": "C.UTF-8"}


def _home() -> str:
    """The home of the user that this is, not of whoever called: programs read their configuration there."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _not_started(program: str, cwd: str | None, error: OSError) -> LetsbeError:
    if cwd is not None and error.filename == cwd:
        return LetsbeError(
            "program_not_started", f"working directory {cwd}: {error.strerror}", hint="Name one that it may enter."
        )
    if error.errno == errno.ENOENT and os.path.exists(program):
        return LetsbeError(
            "program_missing", f"{program}: its interpreter is not there", hint="See its #! line, or `file` on it."
        )
    if error.errno == errno.ENOENT:
        return LetsbeError("program_missing", f"{program}: not there", hint="Install it, or mend the path.")
    reason, hint = _REASONS.get(error.errno or 0, (os.strerror(error.errno or 0), "Try it by hand as the same user."))
    return LetsbeError("program_not_started", f"{program}: {reason}", hint=hint)
