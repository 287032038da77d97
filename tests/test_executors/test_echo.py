from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from letsbe import __version__
from letsbe.executors import EXECUTOR_REGISTRY, echo, executor_class
from letsbe.executors.echo import abilities
from letsbe.tools import versions
from letsbe.tools.versions import is_older, version_in
from tests.agents import Agent


def test_gives_back_what_it_was_given(agent: Agent) -> None:
    outcome = agent.run("ECHO", {"message": "grüße\n"})
    assert outcome.data["message"] == "grüße\n"
    assert outcome.data["version"] == __version__
    assert outcome.data["host"] == os.uname().nodename
    assert 0 < outcome.data["uptime_s"] <= float(Path("/proc/uptime").read_text().split()[0])
    assert outcome.data["programs"] is None
    assert outcome.changed is False


def test_message_is_bounded(agent: Agent) -> None:
    assert agent.run("ECHO", {"message": "x" * 4096}).success
    assert not agent.run("ECHO", {"message": "x" * 4097}).success


def test_probe_finds_what_is_there(agent: Agent) -> None:
    data = agent.run("ECHO", {"probe": True}).data
    programs = {program["name"]: program for program in data["programs"]}
    assert set(programs) == {"docker", "compose", "nginx", "restic", "chromium", "apt"}
    assert programs["apt"]["version"]
    assert programs["compose"]["version"]
    for program in programs.values():
        assert program["version"] or program["problem"]
    assert data["free_bytes"][str(agent.root)] > 0
    assert {ability["type"] for ability in data["abilities"]} == set(EXECUTOR_REGISTRY)


def test_programs_that_do_not_answer_are_asked_at_once_and_not_for_long(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {f"slow-{number}": ("sleep", (f"3{os.getpid()}",)) for number in range(4)}
    monkeypatch.setattr(versions, "VERSION_COMMANDS", {**asked, "gone": ("no-such-program", ())})
    began = time.monotonic()
    data = agent.run("ECHO", {"probe": True}).data
    assert time.monotonic() - began < 2 * echo.PROBE_S
    problems = {program["name"]: program["problem"] for program in data["programs"]}
    assert problems == dict.fromkeys(asked, "no answer within 3 s") | {"gone": "no-such-program is not installed"}


def test_missing_needs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_class("SHELL"), "needs", ("sh", "no-such-program"))
    monkeypatch.setattr(executor_class("ECHO"), "better_with", ("no-such-program",))
    found = {ability.type: ability for ability in abilities()}
    assert found["SHELL"].works is False
    assert found["SHELL"].missing == ["no-such-program"]
    assert "Install no-such-program" in found["SHELL"].reasons[0]
    assert (found["ECHO"].works, found["ECHO"].limited) == (True, ["no-such-program"])


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("apt 2.6.1 (amd64)", "2.6.1"),
        ("restic 0.18.0 compiled with go1.24.4", "0.18.0"),
        ("20.10.24+dfsg1", "20.10.24+dfsg1"),
        ("Chromium 156.0.8078.73 built on Debian", "156.0.8078.73"),
        ("no version here", None),
    ],
)
def test_version_in(output: str, version: str | None) -> None:
    assert version_in(output) == version


@pytest.mark.parametrize(
    ("version", "older"),
    [("2.19.1", True), ("1.29.2", True), ("v2.20.0", False), ("2.26.1-4", False), ("5.0.0", False), ("dev", False)],
)
def test_is_older(version: str, older: bool) -> None:
    assert is_older(version, "2.20") is older
