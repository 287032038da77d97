"""What children of the built file are given."""

from __future__ import annotations

import sys

import pytest

from letsbe.frozen import child_environment

HOME = "/tmp/_MEI00001234abcdef"
BOOT = {
    "_PYI_ARCHIVE_FILE": "/usr/local/bin/letsbe",
    "_PYI_APPLICATION_HOME_DIR": HOME,
    "_PYI_PARENT_PROCESS_LEVEL": "1",
    "_PYI_LINUX_PROCESS_NAME": "letsbe",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"LD_LIBRARY_PATH": HOME}, {}, id="none before"),
        pytest.param(
            {"LD_LIBRARY_PATH": f"{HOME}:/opt/a:/opt/b", "LD_LIBRARY_PATH_ORIG": "/opt/a:/opt/b"},
            {"LD_LIBRARY_PATH": "/opt/a:/opt/b"},
            id="some before",
        ),
        pytest.param(
            {"LD_LIBRARY_PATH": HOME, "LD_LIBRARY_PATH_ORIG": "/of/another/program"},
            {"LD_LIBRARY_PATH_ORIG": "/of/another/program"},
            id="a leftover of another program",
        ),
        pytest.param({"LD_LIBRARY_PATH": "/opt/a"}, {"LD_LIBRARY_PATH": "/opt/a"}, id="already restored"),
        pytest.param(BOOT, {}, id="loader's own variables"),
    ],
)
def test_child_environment_is_that_of_the_caller(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_MEIPASS", HOME, raising=False)
    assert child_environment({"PATH": "/bin"} | given) == {"PATH": "/bin"} | expected


def test_child_environment_from_source_is_unchanged() -> None:
    env = {"LD_LIBRARY_PATH": "/opt/a", "LD_LIBRARY_PATH_ORIG": "/opt/b"} | BOOT
    assert child_environment(env) == env
