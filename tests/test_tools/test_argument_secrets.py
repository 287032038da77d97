from __future__ import annotations

import time

import pytest

from letsbe.tools.argument_secrets import secret_arguments


@pytest.mark.parametrize(
    ("argv", "secrets"),
    [
        (["mysql", "--password=hunter2-long"], ["hunter2-long"]),
        (["mysql", "--password", "hunter2-long", "db"], ["hunter2-long"]),
        (["env", "DB_PASSWORD=hunter2-long", "x"], ["hunter2-long"]),
        (["curl", "--token=a=b=c"], ["a=b=c"]),
        (["x", "--api-key", "--verbose", "name"], []),
        (["restic", "--password-file", "/etc/restic", "--password-command=cat /x"], []),
        (["x", "--password="], []),
        (["echo", "password", "word"], []),
        (["x", "--keep", "5"], []),
        (["sh", "-c", "redis-server --requirepass hunter2222 --port 6379"], ["hunter2222"]),
        (["sh", "-c", "exec app --api-token 'two words' --db=x --pass=a\\ b"], ["two words", "a b"]),
        (["sh", "-c", "su app -c \"app --token='two words'\""], ["two words"]),
        (["sh", "-c", "(app --token hunter2-long; exit)"], ["hunter2-long;", "hunter2-long"]),
        (["sh", "-c", "DB_PASSWORD=hunter2-long app"], ["hunter2-long app", "hunter2-long"]),
        (["sh", "-c", "app --password-file /x --password-stdin --no-password db; echo password is"], []),
        (["sh", "-c", "app --token 'cut off"], ["'cut"]),
    ],
)
def test_values_of_secret_options(argv: list[str], secrets: list[str]) -> None:
    assert secret_arguments(argv) == secrets


@pytest.mark.parametrize(
    "text",
    [
        "--password " * 30_000,
        "--password '" * 30_001,
        '"\\" ' * 60_001,
        "'x \\\"" * 40_000,
        "\\" * 300_000 + " x",
        '"' * 300_001,
    ],
    ids=lambda text: text[:12],
)
def test_time_grows_linearly(text: str) -> None:
    began = time.process_time()
    secret_arguments(["sh", "-c", text])
    assert time.process_time() - began < 3
