from __future__ import annotations

import time

import pytest

from letsbe.tools.redaction import REDACTED, Redactor, Secret, is_secret_name, unmask


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD", "MYSQL_ROOT_PASSWORD", "db_pass", "API_KEY", "apiKey", "SECRET_KEY_BASE", "GITHUB_TOKEN",
     "SENTRY_DSN", "AWS_SECRET_ACCESS_KEY", "credentials", "KEY", "KEY_1", "Authorization", "PWD",
     "PIHOLE_PW", "pw"],
)  # fmt: skip
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["KEYBOARD", "keys", "PASSIVE_FTP", "HOST", "PORT", "MONKEYS", "PASSENGER_APP", "KEYWORDS"]
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_secret_does_not_print_itself() -> None:
    secret = Secret("hunter22")
    assert "hunter22" not in f"{secret} {secret!r} {[secret]} {secret!s}"
    assert secret.reveal() == "hunter22"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DB_PASSWORD=hunter22", f"DB_PASSWORD={REDACTED}"),
        ('DB_PASSWORD="two words"', f'DB_PASSWORD="{REDACTED}"'),
        ("DB_PASSWORD='two words' # why", f"DB_PASSWORD='{REDACTED}' # why"),
        ("      DB_PASSWORD: hunter22", f"      DB_PASSWORD: {REDACTED}"),
        ('"api_key": "abc"', f'"api_key": "{REDACTED}"'),
        ("DB_PASSWORD=", "DB_PASSWORD="),
        ("DB_HOST=db", "DB_HOST=db"),
        ("postgres://app:hunter22@db/app", f"postgres://app:{REDACTED}@db/app"),
        ("+amqp://app:hunter@22@mq:1/x", f"+amqp://app:{REDACTED}@mq:1/x"),
        ("redis://:p@ss@w@db:6379", f"redis://:{REDACTED}@db:6379"),
        ('{"a":"redis://:hunter22@db:1","b":"me@x"}', f'{{"a":"redis://:{REDACTED}@db:1","b":"me@x"}}'),
        ("https://git@example.org http://db:80/a@b", "https://git@example.org http://db:80/a@b"),
        ("a\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb", f"a\n{REDACTED}\nb"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE cut", REDACTED),
    ],
)
def test_text_by_key_name(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected
    masked = Redactor().mask(text)
    assert len(masked) == len(text)
    if "BEGIN" not in text:
        assert unmask(masked) == expected


def test_mask_keeps_lines_and_covers_met_values() -> None:
    redactor = Redactor()
    redactor.meet("first line\nsecond line")
    text = "a\nfirst line\nsecond line\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb"
    masked = redactor.mask(text)
    assert len(masked) == len(text)
    assert unmask(masked).split("\n") == ["a", *[REDACTED] * 5, "b"]


@pytest.mark.parametrize(
    "printed",
    ["p$a'ss\"w\\rd", "p$$a'ss\"w\\rd", "p$a'ss\\\"w\\\\rd", "p\\$a'ss\\\"w\\\\rd"],
    ids=["bare", "compose", "json", "double-quoted"],
)
def test_met_values_are_replaced_however_they_are_written(printed: str) -> None:
    redactor = Redactor()
    redactor.meet("p$a'ss\"w\\rd")
    assert redactor.prose(f"before {printed} after") == f"before {REDACTED} after"


def test_longest_value_wins() -> None:
    redactor = Redactor()
    redactor.meet("secret")
    redactor.meet("secret-and-more")
    assert redactor.prose("secret-and-more") == REDACTED


def test_short_values_are_left() -> None:
    redactor = Redactor()
    redactor.meet("12345")
    assert redactor.prose("12345") == "12345"


def test_data_is_redacted_to_its_depth() -> None:
    redactor = Redactor()
    redactor.meet_mapping({"DB_PASSWORD": "hunter22", "DB_HOST": "database"})
    data = {"a": ["x hunter22", {"hunter22": 1}], "b": 2, "c": None, "host": "database"}
    assert redactor.data(data) == {"a": [f"x {REDACTED}", {REDACTED: 1}], "b": 2, "c": None, "host": "database"}


def test_what_was_allowed_is_given_whole_and_only_whole() -> None:
    redactor = Redactor()
    redactor.meet("hunter2!")
    redactor.allow("postgres://u:hunter2!@db/x")
    given = redactor.data(["postgres://u:hunter2!@db/x", "see postgres://u:hunter2!@db/x", "hunter2!"])
    assert given == ["postgres://u:hunter2!@db/x", f"see postgres://u:{REDACTED}@db/x", REDACTED]


def test_named_replaces_whatever_stands_under_a_secret_name() -> None:
    payload = {"set": {"DB_PASSWORD": "abc", "DB_HOST": "db"}, "token": ["a", "b"], "keys": ["A"]}
    assert Redactor().named(payload) == {
        "set": {"DB_PASSWORD": REDACTED, "DB_HOST": "db"},
        "token": REDACTED,
        "keys": ["A"],
    }


def test_many_secrets_in_much_text_take_seconds() -> None:
    redactor = Redactor()
    for number in range(30_000):
        redactor.meet(f"secret-{number:09}")
    text = "".join(f"no {number:09} secret-{number:09}\n" for number in range(0, 40_000, 2))
    started = time.process_time()
    found = redactor.text(text)
    assert time.process_time() - started < 20
    assert found.count(REDACTED) == 15_000


def test_assigned_secrets_are_met() -> None:
    redactor = Redactor()
    redactor.meet_assigned('{"api_token": "hunter-22-x"}\nname: visible-word\nDB_PASSWORD=hunter-33-x\n')
    assert redactor.prose("hunter-22-x hunter-33-x visible-word") == f"{REDACTED} {REDACTED} visible-word"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000 + " ://",
        "a.1-" * 80_000 + "://x",
        "a://:" + "x" * 300_000,
        "a://:x@" * 50_000,
        "a://:" + "@x" * 150_000,
    ],
    ids=lambda text: text[:10],
)
def test_looking_for_passwords_in_addresses_takes_linear_time(text: str) -> None:
    began = time.process_time()
    Redactor().prose(text)
    assert time.process_time() - began < 3
