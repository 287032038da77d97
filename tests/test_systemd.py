"""The systemd timer, under a systemd of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.machine import Machine, machine
from tests.orchestrator_fixture import Orchestrator, orchestrator

__all__ = ["orchestrator"]

#: A minute is long for a test.
EVERY_3_S = """[Timer]
OnCalendar=
OnCalendar=*:*:0/3
RandomizedDelaySec=0
"""


@pytest.fixture
def here(orchestrator: Orchestrator, tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "machine", tmp_path / "orchestrator", systemd=True) as copy:
        copy.forget("/etc/letsbe", "/var/lib/letsbe", "/opt/letsbe", "/etc/cron.d/letsbe")
        wait_until_it_runs(copy)
        yield copy


def test_the_timer_polls_in_silence_and_beside_a_long_task(orchestrator: Orchestrator, here: Machine) -> None:
    copy_of_timer = here.path("/etc/systemd/system/letsbe.timer.d")
    copy_of_timer.mkdir()
    (copy_of_timer / "often.conf").write_text(EVERY_3_S)
    flags = ["--systemd", "--orchestrator-url", orchestrator.url, "--ca-file", str(orchestrator.ca_file)]
    token = orchestrator.enrol().encode()
    installed = json.loads(here.run(*here.letsbe, "install", *flags, "--enrolment-token-file", "-", stdin=token).stdout)
    assert installed["schedule"] == "systemd"
    assert here.run("systemctl", "is-active", "letsbe.timer").stdout == b"active\n"
    allow_sleep(here)

    agent = wait_for_agent(orchestrator)
    long = orchestrator.submit("SHELL", {"argv": ["/usr/bin/sleep", "20"]}, agent=agent)
    wait_until_claimed(orchestrator, long)
    short = orchestrator.submit("ECHO", {"message": "meanwhile"}, agent=agent)
    outcome = orchestrator.outcome(short, within_s=15)
    assert outcome is not None
    assert outcome["data"]["message"] == "meanwhile"
    assert orchestrator.outcome(long) is None, "the long task still runs"
    assert b".service" in here.run("systemctl", "list-units", "run-*.service", "--plain", "--no-legend").stdout

    here.run("systemctl", "stop", "letsbe.timer", "letsbe.slice")
    assert here.run("journalctl", "--identifier=letsbe", "--quiet", "--output=cat").stdout == b""
    taken = json.loads(here.run(*here.letsbe, "uninstall").stdout)
    assert taken["changed"]
    assert here.run("systemctl", "is-active", "letsbe.timer", check=False).stdout == b"inactive\n"
    assert not here.path("/etc/systemd/system/letsbe.timer").exists()


def allow_sleep(here: Machine) -> None:
    path = here.path("/etc/letsbe/letsbe.yml")
    document = yaml.safe_load(path.read_text())
    document["shell"]["allow"] = [{"program": "/usr/bin/sleep", "args": ["20"]}]
    path.write_text(yaml.safe_dump(document))


def wait_until_it_runs(here: Machine) -> None:
    deadline = time.monotonic() + 30
    while here.run("systemctl", "is-system-running", check=False).stdout not in (b"running\n", b"degraded\n"):
        assert time.monotonic() < deadline, here.run("systemctl", "list-jobs", check=False)
        time.sleep(0.2)


def wait_for_agent(orchestrator: Orchestrator) -> str:
    deadline = time.monotonic() + 30
    while not (agents := orchestrator.agents()):
        assert time.monotonic() < deadline, "the timer has not polled"
        time.sleep(0.1)
    return agents[0].agent_id


def wait_until_claimed(orchestrator: Orchestrator, task_id: str) -> None:
    deadline = time.monotonic() + 30
    while orchestrator.task(task_id).state != "claimed":
        assert time.monotonic() < deadline, orchestrator.task(task_id)
        time.sleep(0.1)
