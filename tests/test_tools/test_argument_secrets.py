from __future__ import annotations

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
    ],
)
def test_values_of_secret_options(argv: list[str], secrets: list[str]) -> None:
    assert secret_arguments(argv) == secrets
