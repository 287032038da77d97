"""The administrator of the pages: one password, kept in the home as a scrypt hash (RFC 7914).

In the home and not in the database, so that whoever can write the database still can't act as the administrator.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading

import msgspec
from msgspec import Struct

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator import files
from letsbe.orchestrator.home import Home

#: Characters of a password: so many that the attempts that ``pages.sessions`` admits come to nothing; and no book.
SHORTEST, LONGEST = 12, 1024

# 32 MiB and a third of a second for each attempt.
_N, _R, _P = 2**15, 8, 3
_MAX_MEMORY = 256 * 1024 * 1024

_one_at_a_time = threading.Lock()


class Admin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the home keeps: the hash with its parameters, and the key of sessions, which a new password replaces."""

    n: int
    r: int
    p: int
    salt: bytes
    password: bytes
    session_key: bytes


def load(home: Home) -> Admin | None:
    """The administrator; None while nobody is. Raises ``admin_unreadable``, ``unsafe_permissions``."""
    if not os.path.exists(home.admin):
        return None
    files.refuse_if_exposed(home.admin)
    try:
        return decode(files.read(home.admin), Admin)
    except msgspec.DecodeError as error:
        raise _unreadable(home, error) from error


def set_password(home: Home, password: str) -> None:
    """Make ``password`` the administrator's; every session ends. Raises ``password_unusable``."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise LetsbeError(
            "password_unusable",
            f"the password has {len(password)} characters, not {SHORTEST} to {LONGEST}",
            hint="Take a few random words, or what a password manager makes.",
        )
    salt = os.urandom(16)
    digest = _scrypt(password, salt, _N, _R, _P)
    admin = Admin(n=_N, r=_R, p=_P, salt=salt, password=digest, session_key=os.urandom(32))
    files.replace(home.admin, msgspec.json.encode(admin) + b"\n")


def remove(home: Home) -> bool:
    """End the administrator and every session; False when there was none."""
    try:
        os.unlink(home.admin)
    except FileNotFoundError:
        return False
    return True


def is_password(home: Home, admin: Admin, password: str) -> bool:
    """Whether this is the administrator's password, in a time that says nothing. Raises ``admin_unreadable``."""
    try:
        with _one_at_a_time:  # else many attempts at once would take the memory
            found = _scrypt(password[: LONGEST + 1], admin.salt, admin.n, admin.r, admin.p)
    except ValueError as error:
        raise _unreadable(home, error) from error
    return hmac.compare_digest(found, admin.password)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY)


def _unreadable(home: Home, error: Exception) -> LetsbeError:
    return LetsbeError(
        "admin_unreadable",
        f"{home.admin}: {error}",
        hint="Set the password anew: `letsbe-orchestrator admin`.",
    )
