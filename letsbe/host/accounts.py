"""Users and groups of this machine."""

from __future__ import annotations

from functools import lru_cache

from letsbe.errors import LetsbeError


def owner_ids(owner: str) -> tuple[int, int]:
    """``user:group``, each a name or a number, as ids; ``unknown_owner`` when there is no such name."""
    user, _, group = owner.partition(":")
    return _user_id(user), _group_id(group)


@lru_cache(maxsize=1024)
def owner_names(uid: int, gid: int) -> str:
    """``user:group``, numbers where there is no name."""
    import grp
    import pwd

    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return f"{user}:{group}"


def _user_id(name: str) -> int:
    import pwd

    if name.isdecimal():
        return _bounded(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise _unknown("user", name) from None


def _group_id(name: str) -> int:
    import grp

    if name.isdecimal():
        return _bounded(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _unknown("group", name) from None


def _bounded(text: str) -> int:
    number = int(text)
    if number >= 2**32 - 1:  # the last one means "leave as it is" to chown(2)
        raise LetsbeError("unknown_owner", f"{text} is no user or group id", hint="Ids are below 4294967295.")
    return number


def _unknown(kind: str, name: str) -> LetsbeError:
    return LetsbeError(
        "unknown_owner", f"this machine has no {kind} {name!r}", hint=f"Create the {kind}, or give its number."
    )
