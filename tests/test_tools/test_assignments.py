"""Where secrets stand in texts of many formats."""

from __future__ import annotations

import time

import pytest

from letsbe.tools.redaction import REDACTED, Redactor, unmask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("environment:\n  DB_PASSWORD: hunter22\n", "environment:\n  DB_PASSWORD: {}\n"),
        ("A=\nDB_PASSWORD=hunter22", "A=\nDB_PASSWORD={}"),
        ("DB_PASSWORD=\nB=1", "DB_PASSWORD=\nB=1"),
        ("password: \n\nnext: 1", "password: \n\nnext: 1"),
        ("export DB_PASSWORD=two words # why\nX=1", "export DB_PASSWORD={} # why\nX=1"),
        ("+DB_PASSWORD=a b\n DB_HOST=db\n", "+DB_PASSWORD={}\n DB_HOST=db\n"),
        ("  - DB_PASSWORD: two words\n    b: 1\n", "  - DB_PASSWORD: {}\n    b: 1\n"),
        ("    - DB_PASSWORD=two words\n    - B=1\n", "    - DB_PASSWORD={}\n    - B=1\n"),
        ("x: DB_PASSWORD=hunter22", "x: DB_PASSWORD={}"),
        ("password:\n  hunter22\nb: 1", "password:\n  {}\nb: 1"),
        ("password: >-\n  one\n\n  two\nb: 1", "password: >-\n  {}\n\n{}\nb: 1"),
        ("passwords:\n- one\n- two\nb: 1", "passwords:\n{}\n{}\nb: 1"),
        ("secrets:\n  tls:\n    file: ./tls\n", "secrets:\n  tls:\n    file: ./tls\n"),
        ('{"env": {"password": "hunter22"}, "b": 1}', '{"env": {"password": "{}"}, "b": 1}'),
        ('{"passwords": {"a": ["x"], "b": 1}, "c": 2}', '{"passwords": {}, "c": 2}'),
        ('"token":12345,"b":1', '"token":{},"b":1'),
        ("curl -H 'Authorization: Bearer abc.def' host", "curl -H 'Authorization: {} host"),
        ("GET /?token=abc&x=1 HTTP/1.1", "GET /?token={} HTTP/1.1"),
        ("login user=me password=hunter22 ok=1", "login user=me password={} ok=1"),
        ("'password' => 'two words',", "'password' => '{}',"),
        ('secret := "two words"', 'secret := "{}"'),
        ("if password == given:", "if password == given:"),
        ("passenger: x", "passenger: x"),
        (
            "command: redis-server --requirepass hunter2222 --port 6379",
            "command: redis-server --requirepass {} --port 6379",
        ),
        ('["sh","-c","exec app --api-token abcdef123456"]', '["sh","-c","exec app --api-token {}"]'),
        ('["redis-server", "--requirepass", "two words", "x"]', '["redis-server", "--requirepass", "{}", "x"]'),
        ("[redis-server, --requirepass, hunter2222]", "[redis-server, --requirepass, {}"),
        ("  - --requirepass\n  - hunter2222\n  - --port\n", "  - --requirepass\n  - {}\n  - --port\n"),
        ("app --token \\\n  hunter2222 \\\n  --port 1", "app --token \\\n  {} \\\n  --port 1"),
        ("app --password 'two words' x", "app --password '{}' x"),
        (r'c: "app --password \"two words\" x"', 'c: "app --password {} x"'),
        ("app --password 'cut off", "app --password {} off"),
        ("keytool -storepass changeit -v", "keytool -storepass {} -v"),
        ("app --token --verbose\n--token\nx", "app --token --verbose\n--token\nx"),
        ("restic --password-file /x --password-command=cat", "restic --password-file /x --password-command=cat"),
        ("docker login --password-stdin host", "docker login --password-stdin host"),
        ("pg_dump --no-password db", "pg_dump --no-password db"),
        ("-passwords are gone\n a bare password x", "-passwords are gone\n a bare password x"),
    ],
)
def test_what_is_covered(text: str, expected: str) -> None:
    marked = expected.replace("{}", REDACTED)
    masked = Redactor().mask(text)
    assert len(masked) == len(text)
    assert unmask(masked) == marked
    assert Redactor().text(text).count(REDACTED) == (1 if "{}" in expected else 0)


@pytest.mark.parametrize(
    "text",
    [
        "b=1 " + "a" * 300_000,
        "a." * 150_000,
        "password: {" * 30_000,
        "password:\n " * 30_000,
        '"' * 300_000,
        "'password':" * 30_000,
        "- " * 150_000 + "password: x",
        "--password " * 30_000,
        '--password \\"' * 30_000,
        "--password\n - " * 30_000,
        "--p, " + "\n" * 300_000,
        "".join("\\" * count + '"--password ' for count in range(700)),
    ],
    ids=lambda text: text[:12],
)
def test_time_grows_linearly(text: str) -> None:
    began = time.monotonic()
    Redactor().mask(text)
    assert time.monotonic() - began < 3
