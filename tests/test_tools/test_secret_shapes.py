"""Secrets that no name gives away."""

from __future__ import annotations

import time

import pytest

from letsbe.tools.redaction import REDACTED, Redactor, unmask

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36P"
BCRYPT = "$2y$05$" + "abcdefghijklmnopqrstuv" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"session {JWT} began", JWT),
        ("git clone ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        (f"admin:{BCRYPT}", BCRYPT),
        (f"users=admin:{BCRYPT.replace('$', '$$')},other", BCRYPT.replace("$", "$$")),
        ("admin:$apr1$abcdefgh$defghijklmnopqrstuvwx/", "$apr1$abcdefgh$defghijklmnopqrstuvwx/"),
        ("root:$6$salt$" + "h" * 86 + ":19000:0:::", "$6$salt$" + "h" * 86),
        ("admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
        ('{"auths": {"r": {"auth": "YWRtaW46aHVudGVyMjIyMg=="}}}', "YWRtaW46aHVudGVyMjIyMg=="),
        ("machine example.org\n  login me\n  password hunter2222\n", "hunter2222"),
        ("mysqladmin ping -uroot -phunter2222", "hunter2222"),
        ('["mysqladmin", "ping", "-phunter2222"]', "hunter2222"),
        ("test: redis-cli -a hunter2222 ping", "hunter2222"),
        ('["redis-cli", "-a", "hunter2222", "ping"]', "hunter2222"),
        ("mysqladmin ping -p$$MYSQL_ROOT", None),
        ("image: mysql:8 -p 3306:3306", None),
        ('rewrite ^ /$1/$2/$3 last; "auth": "required"; login with a password', None),
    ],
)
def test_what_is_covered(text: str, secret: str | None) -> None:
    expected = text if secret is None else text.replace(secret, REDACTED)
    masked = Redactor().mask(text)
    assert len(masked) == len(text)
    assert unmask(masked) == expected
    assert Redactor().text(text) == expected


def test_a_private_key_of_pgp_is_one() -> None:
    key = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQdG\n-----END PGP PRIVATE KEY BLOCK-----"
    assert Redactor().text(f"a\n{key}\nb") == f"a\n{REDACTED}\nb"


@pytest.mark.parametrize(
    "text",
    ["mysql " * 50_000, "mysql -p" * 40_000, "$1$" * 100_000, "$1$" + "a" * 300_000, "login x password " * 20_000,
     "eyJ" * 100_000, "eyJaaaaaaaa." * 30_000, "redis-cli -a" * 30_000, "machine " + "\n" * 300_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_time_grows_linearly(text: str) -> None:
    began = time.process_time()
    Redactor().mask(text)
    assert time.process_time() - began < 5
