"""One agent, one user: whoever calls it, it works as the user whom its state belongs to."""

from __future__ import annotations

import os
import sys

from letsbe.errors import LetsbeError


def act_as_owner(state_dir: str) -> None:
    """When root calls an agent that was installed for another user, go on as that user.

    Otherwise root's locks, journal and snapshots would be closed to the agent's next poll, and what root sees would not
    be what the agent sees. The built file starts anew, since what it unpacked for root is closed to that user.
    """
    if os.geteuid() != 0:
        return
    try:
        found = os.stat(state_dir)
    except OSError:
        return
    if found.st_uid == 0:
        return
    import pwd

    try:
        os.initgroups(pwd.getpwuid(found.st_uid).pw_name, found.st_gid)
    except KeyError:
        os.setgroups([])  # a user without a name has no other groups
    _refuse_unreachable(found, state_dir)
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)
    _start_anew(state_dir)


def _refuse_unreachable(owner: os.stat_result, state_dir: str) -> None:
    """Raise ``path_unusable`` while this process can still read itself, when that user could not start it."""
    from letsbe.frozen import unpack_dir

    if unpack_dir() is None:
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    reachable = os.access(sys.executable, os.R_OK | os.X_OK, effective_ids=True)
    os.seteuid(0)
    if not reachable:
        raise LetsbeError(
            "path_unusable",
            f"{sys.executable} can't be run by the user that {state_dir} belongs to",
            hint="Use the installed one, /usr/local/bin/letsbe.",
        )


def _start_anew(state_dir: str) -> None:
    from letsbe.agent.layout import tmpdir
    from letsbe.frozen import child_environment, unpack_dir

    if unpack_dir() is None:
        return
    environment = child_environment(os.environ)
    if os.access(tmpdir(state_dir), os.W_OK):
        environment["TMPDIR"] = tmpdir(state_dir)
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], environment)  # noqa: S606
