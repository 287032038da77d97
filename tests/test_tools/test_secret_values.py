"""Which values are secrets, and which secrets are none."""

from __future__ import annotations

import time

import pytest

from letsbe.tools.redaction import Redactor
from letsbe.tools.secret_values import is_secret, meet_secrets, user_names, weakness


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DB_PASSWORD", "x"),
        ("DATABASE_URL", "postgres://u:pw@db/x"),
        ("CI", "ghp_abcdefghijklmnop0123"),
        ("ACCESS", "AKIAABCDEFGHIJKLMNOP"),
        ("SESSION", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ("CERT", "-----BEGIN RSA PRIVATE KEY-----\nabc\n"),
        ("SMTP_LOGIN", "q7Rz0vT2mK9xW4bN8cL1pD6h"),
        ("HEX", "9f86d081884c7d659a2feaa0c55ad015"),
    ],
)
def test_secrets(key: str, value: str) -> None:
    assert is_secret(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("APP_ENV", "production"),
        ("IMAGE", "registry.example.com/team/application:2026.11.24"),
        ("URL", "https://example.com/a?b=c"),
        ("TITLE", "an_ordinary_title_that_is_long"),
        ("FLAGS", "--with-everything-enabled-now"),
        ("TZ", "Europe/Berlin"),
        ("EMPTY", ""),
    ],
)
def test_no_secrets(key: str, value: str) -> None:
    assert not is_secret(key, value)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("DB_PASSWORD", "changeme", "default"),
        ("DB_PASSWORD", "password123", "default"),
        ("DB_PASSWORD", "P@ssw0rd!", "default"),
        ("DB_PASSWORD", "Admin1", "default"),
        ("DB_PASSWORD", "1234567890", "default"),
        ("POSTGRES_PW", "postgres", "default"),
        ("DB_PASSWORD", "<your password>", "placeholder"),
        ("DB_PASSWORD", "please-change-me-soon", "placeholder"),
        ("DB_PASSWORD", "xxxxxxxxxxxx", "placeholder"),
        ("API_TOKEN", "your-token-here-0123", "placeholder"),
        ("API_TOKEN", "api_token", "like_its_key"),
        ("DB_PASSWORD", "paperless-app", "like_the_user"),
        ("DB_PASSWORD", "a1a1a1a1a1a1", "repetitive"),
        ("DB_PASSWORD", "k3$Qz", "short"),
        ("SECRET_KEY", "k3$Qz9!mW2x", "short"),
    ],
)
def test_weak(key: str, value: str, why: str) -> None:
    assert weakness(key, value, user_names({"DB_USER": "paperless-app", key: value})) == why


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DB_PASSWORD", "k3$Qz9!mW2x"),
        ("SECRET_KEY", "q7Rz0vT2mK9xW4bN8cL1pD6h"),
        ("DB_PASSWORD", "correct horse battery staple"),
        ("DB_PASSWORD", ""),
        ("DB_PASSWORD_FILE", "/x"),
        ("APP_ENV", "test"),
    ],
)
def test_not_weak(key: str, value: str) -> None:
    assert weakness(key, value, user_names({"DB_USER": "u", key: value})) is None


def test_secrets_of_a_file_are_met_but_for_those_that_may_be_shown() -> None:
    redactor = Redactor()
    meet_secrets(redactor, {"A_KEY": "aaaaaa1", "B_KEY": "bbbbbb2", "ENV": "production"}, but=["B_KEY"])
    assert redactor.text("aaaaaa1 bbbbbb2 production") == "[redacted] bbbbbb2 production"


def test_the_place_of_a_secret_is_not_covered() -> None:
    redactor = Redactor()
    meet_secrets(redactor, {"DB_PASSWORD_FILE": "/run/secrets/db", "KEY_DIR": "k3y-in-clear"})
    assert redactor.text("/run/secrets/db k3y-in-clear") == "/run/secrets/db [redacted]"


def test_long_hostile_values_cost_little() -> None:
    started = time.process_time()
    for value in (
        "1" * 32_000 + "x",
        "x" * 32_000 + "1",
        "eyJ" * 10_000,
        "a:" * 16_000,
        "://" * 10_000,
        "change" * 5_000,
    ):
        is_secret("A", value)
        weakness("A_KEY", value, frozenset())
    assert time.process_time() - started < 20
