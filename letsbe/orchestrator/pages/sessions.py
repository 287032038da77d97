"""Logging in and out: sessions, the limit of attempts, the tokens of forms.

A session is a row in the database, so that logging out ends it everywhere, and a cookie that carries a MAC under the
home's session key, so that whoever writes the database can't make one up.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select

from letsbe.errors import LetsbeError
from letsbe.orchestrator.admin import Admin
from letsbe.orchestrator.tables import login_attempts, page_sessions
from letsbe.orchestrator.times import SKEW_S

#: The cookies: of a session, and of the form that begins one.
COOKIE, LOGIN_COOKIE = "__Host-letsbe", "__Host-letsbe-login"

#: A session ends so many seconds after its login.
LIFETIME_S = 8 * 3600

#: Attempts that may fail within so many seconds: from one address, and from all together.
WINDOW_S, PER_ADDRESS, IN_ALL = 900, 5, 50

_VALUE = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([0-9a-f]{64})")


class Session(Struct, frozen=True):
    """A session that holds. ``form_token`` is what each of its forms must carry."""

    token: str
    form_token: str


def begin(connection: Connection, admin: Admin, now: float) -> str:
    """A new session's cookie value."""
    connection.execute(delete(page_sessions).where(~page_sessions.c.expires_at.between(now, now + LIFETIME_S + SKEW_S)))
    token, expires_at = new_token(), int(now) + LIFETIME_S
    connection.execute(insert(page_sessions).values(token_hash=_hash(token), expires_at=expires_at))
    return f"{token}.{expires_at}.{_mac(admin, 'session', f'{token}.{expires_at}')}"


def find(connection: Connection, admin: Admin, cookie: str, now: float) -> Session | None:
    """The session of a cookie value, None when there is none, or no longer."""
    match = _VALUE.fullmatch(cookie)
    if match is None:
        return None
    token, expires_at, mac = match.groups()
    if not hmac.compare_digest(mac, _mac(admin, "session", f"{token}.{expires_at}")):
        return None
    if not now < int(expires_at) <= now + LIFETIME_S + SKEW_S:
        return None
    known = connection.scalar(select(page_sessions.c.token_hash).where(page_sessions.c.token_hash == _hash(token)))
    return None if known is None else Session(token, _mac(admin, "form", token))


def end(connection: Connection, session: Session) -> None:
    """End a session."""
    connection.execute(delete(page_sessions).where(page_sessions.c.token_hash == _hash(session.token)))


def login_form_token(admin: Admin, cookie: str) -> str:
    """What the login form must carry beside its cookie."""
    return _mac(admin, "login", cookie)


def count_attempt(connection: Connection, address: str, now: float) -> None:
    """Count an attempt before its password is looked at. Raises ``too_many_attempts``.

    Several processes may let a few more pass: each looks before another has counted.
    """
    connection.execute(delete(login_attempts).where(~login_attempts.c.at.between(now - WINDOW_S, now + SKEW_S)))
    mine = connection.scalar(select(func.count()).where(login_attempts.c.address == address)) or 0
    everyone = connection.scalar(select(func.count()).select_from(login_attempts)) or 0
    if mine >= PER_ADDRESS or everyone >= IN_ALL:
        raise LetsbeError(
            "too_many_attempts",
            f"too many attempts to log in within {WINDOW_S // 60} minutes",
            hint="Wait, or use the `letsbe-orchestrator` command on the machine itself.",
        )
    connection.execute(insert(login_attempts).values(at=now, address=address))


def forget_attempts(connection: Connection, address: str) -> None:
    """Count anew for an address from which somebody knew the password."""
    connection.execute(delete(login_attempts).where(login_attempts.c.address == address))


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _mac(admin: Admin, purpose: str, text: str) -> str:
    return hmac.new(admin.session_key, f"{purpose}:{text}".encode(), "sha256").hexdigest()
