"""Values that are secrets, whatever their key is called, and secrets that are none: defaults and short ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal

from letsbe.tools.redaction import Redactor, is_secret_name
from letsbe.tools.secret_shapes import ISSUED

Weakness = Literal["default", "placeholder", "short", "repetitive", "like_its_key", "like_the_user"]

#: A name that ends so holds a place or a number, not the secret itself (``DB_PASSWORD_FILE``, ``TOKEN_TTL``).
_NOT_THE_SECRET = re.compile(r"_(?:FILE|PATH|DIR|ID|NAME|USER|TTL|LENGTH|EXPIRY|EXPIRES|ENABLED|TYPE|HOST|PORT)$", re.I)
_ONE_WORD = re.compile(r"[A-Za-z0-9+_=!#%&*-]{24,}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_URL_PASSWORD = re.compile(r"://[^\s:/@]*:[^\s/@]+@")

_DEFAULTS = frozenset(
    [
        *("admin", "administrator", "changeit", "changeme", "default", "demo", "dev", "docker", "dummy", "example"),
        *("foobar", "grafana", "guest", "guestguest", "hunter", "iloveyou", "keycloak", "letmein", "login", "mariadb"),
        *("master", "minio", "minioadmin", "mongo", "mysql", "nextcloud", "notsecret", "pass", "passw", "passwd"),
        *("password", "postgres", "postgresql", "qwerty", "qwertz", "rabbitmq", "redis", "root", "rootpassword"),
        *("rootroot", "sa", "secret", "secretkey", "somepassword", "supersecret", "sysadmin", "temp", "test"),
        *("testing", "testtest", "toor", "user", "verysecret", "wordpress", "welcome", "yourpassword", "yourstrong"),
    ]
)
_PLACEHOLDER = re.compile(
    r"<.*>|\[.*\]|\{\{.*\}\}|__.*__|[x*.?-]{3,}|(?:your|my|insert|replace|enter|put|set|todo|fixme|fill|generate|some)"
    r"[-_ ].*|.*change[-_ ]?(?:me|this|it).*|.*(?:replace|put)[-_ ]?(?:me|this).*",
    re.I | re.S,
)
_NAMES_USER = re.compile(r"(?:USER|USERNAME|LOGIN|ADMIN|DATABASE|DB|NAME)$", re.I)
_MIN_PASSWORD = 8
_MIN_KEY = 16


def is_secret(key: str, value: str) -> bool:
    """Whether a value is to be kept secret: by its key's name, or because it looks issued or made by a machine."""
    if is_secret_name(key):
        return True
    return bool(ISSUED.search(value) or _PRIVATE_KEY.search(value) or _URL_PASSWORD.search(value)) or _is_random(value)


def meet_secrets(redactor: Redactor, values: Mapping[str, str], but: Iterable[str] = ()) -> None:
    """Make the redactor know the secrets of an env file, except those of some keys.

    A path under a key like ``DB_PASSWORD_FILE`` says where the secret is; covering it would only
    blot out what is said of that path.
    """
    excepted = set(but)
    for key, value in values.items():
        if key not in excepted and is_secret(key, value) and not _is_place(key, value):
            redactor.meet(value)


def user_names(values: Mapping[str, str]) -> frozenset[str]:
    """The names of users and databases that an env file sets."""
    return frozenset(value for key, value in values.items() if _NAMES_USER.search(key) and not is_secret_name(key))


def weakness(key: str, value: str, users: frozenset[str]) -> Weakness | None:
    """Why a secret is none; None for values that are not secret, empty, or strong enough.

    ``users`` are the :func:`user_names` of the same file: a password like one of them is weak.
    """
    if not value or not is_secret_name(key) or _NOT_THE_SECRET.search(key):
        return None
    lower = value.lower()
    letters = re.sub(r"[^a-z]+", "", lower)
    if lower not in _DEFAULTS and _PLACEHOLDER.fullmatch(value):
        return "placeholder"
    if {lower, letters, lower.rstrip("!.?").translate(_LEET)} & _DEFAULTS or any(lower in run for run in _RUNS):
        return "default"
    if len(letters) * 2 > len(value) and letters in re.sub(r"[^a-z]+", "", key.lower()):
        return "like_its_key"
    if value in users:
        return "like_the_user"
    if len(set(value)) <= 2:
        return "repetitive"
    return "short" if len(value) < (_MIN_PASSWORD if _is_password(key) else _MIN_KEY) else None


_RUNS = ("0123456789" * 4, "9876543210" * 4, "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop")
_LEET = str.maketrans("013457@$!", "oleastasi")


def _is_password(key: str) -> bool:
    return re.search(r"PASS|PWD|(?<![A-Z])PW(?![A-Z])", key, re.I) is not None


def _is_place(key: str, value: str) -> bool:
    return key.upper().endswith(("_FILE", "_PATH", "_DIR")) and value.startswith("/")


def _is_random(value: str) -> bool:
    """One long word with many different characters, of which letters and digits keep changing places."""
    if not _ONE_WORD.fullmatch(value):
        return False
    kinds = ["d" if char.isdigit() else "u" if char.isupper() else "l" if char.islower() else "" for char in value]
    turns = sum(left != right for left, right in pairwise(kinds))
    return "d" in kinds and len(set(value)) >= 10 and turns >= len(value) / 4
