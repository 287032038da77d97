"""The cron file and the timer: what stands in ``cron/`` is what install writes, and Debian's cron makes it work."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from letsbe.agent import schedule
from tests.machine import Machine, machine
from tests.orchestrator_fixture import Orchestrator, orchestrator

__all__ = ["orchestrator"]

FILES = Path(__file__).resolve().parent.parent / "cron"

#: Stands in for a mail server: cron starts it with a mail for every job that printed something.
SENDMAIL = """#!/bin/sh
cat > /mail/$$
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("letsbe", schedule.cron_file(), id="cron"),
        pytest.param("letsbe.service", schedule.service_unit(), id="service"),
        pytest.param("letsbe.timer", schedule.timer_unit(), id="timer"),
    ],
)
def test_files_in_the_repository_are_what_install_writes(name: str, text: str) -> None:
    assert (FILES / name).read_text() == text, f"write letsbe.agent.schedule's text to cron/{name}"


def test_percent_does_not_end_a_cron_line() -> None:
    line = schedule.cron_file(["/opt/100%/letsbe"]).splitlines()[-1]
    assert line == r"* * * * * root /opt/100\%/letsbe poll --splay --if-set"


def test_systemd_reads_a_program_with_odd_characters_as_one_word() -> None:
    unit = schedule.service_unit(["/opt/my $x 100%/letsbe"])
    assert '"/opt/my $$x 100%%/letsbe" poll' in unit


@pytest.mark.parametrize("user", ["root", "letsbe"])
def test_systemd_finds_nothing_wrong_with_the_units(user: str, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    assert verify, "apt-get install systemd"
    program = tmp_path / "letsbe"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "letsbe.service").write_text(schedule.service_unit([str(program)], user))
    (tmp_path / "letsbe.timer").write_text(schedule.timer_unit())
    units = [str(tmp_path / "letsbe.service"), str(tmp_path / "letsbe.timer")]
    done = subprocess.run([verify, "verify", *units], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "letsbe" not in done.stderr


def test_cron_polls_and_says_nothing(orchestrator: Orchestrator, tmp_path: Path) -> None:
    with machine(tmp_path / "machine", tmp_path / "orchestrator") as here:
        prepare(here)
        flags = ["--cron", "--orchestrator-url", orchestrator.url, "--ca-file", str(orchestrator.ca_file)]
        token = orchestrator.enrol().encode()
        here.run(*here.letsbe, "install", *flags, "--enrolment-token-file", "-", stdin=token)
        settings = here.path("/etc/letsbe/letsbe.yml")
        settings.write_text(settings.read_text().replace("splay_s: 20", "splay_s: 2"))
        here.run(*here.letsbe, "poll")  # registers, so that a task can be submitted
        (agent,) = orchestrator.agents()
        written = {"path": "/opt/letsbe/from-cron.txt", "content": "by cron\n"}
        task = orchestrator.submit("FILE_WRITE", written, agent=agent.agent_id)
        cron = here.start("/usr/sbin/cron", "-f")
        try:
            outcome = orchestrator.outcome(task, within_s=100)
            assert outcome is not None
            assert outcome["success"], outcome
            assert here.path("/opt/letsbe/from-cron.txt").read_text() == "by cron\n"
            wait_for_mail(here)
            assert finding(here, "schedule")["status"] == "ok"
            assert finding(here, "last poll")["status"] == "ok"
        finally:
            cron.send_signal(signal.SIGTERM)
            cron.wait(10)
        mails = [mail.read_text() for mail in here.path("/mail").iterdir()]
        assert all("mailed by the control job" in mail for mail in mails), mails
        assert list(here.path("/var/lib/letsbe/tmp").iterdir()) == []


def prepare(here: Machine) -> None:
    """No agent and no job of this machine's own; mail that can be looked at; a job whose output must be mailed."""
    here.forget("/etc/letsbe", "/var/lib/letsbe", "/opt/letsbe", "/var/spool/cron/crontabs", "/run/crond.pid")
    here.run("sh", "-c", "rm -f /etc/cron.d/* /etc/crontab; mkdir -m 1777 /mail")
    here.path("/usr/sbin/sendmail").unlink(missing_ok=True)
    here.path("/usr/sbin/sendmail").write_text(SENDMAIL)
    here.path("/usr/sbin/sendmail").chmod(0o755)
    here.path("/etc/cron.d/control").write_text("* * * * * root echo mailed by the control job\n")


def wait_for_mail(here: Machine) -> None:
    """Until the control job's mail is there, and every job of that minute has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        busy = here.run("pgrep", "-f", "letsbe[ ]poll", check=False).returncode == 0
        if any(here.path("/mail").iterdir()) and not busy:
            return
        time.sleep(0.2)
    raise AssertionError("the control job's output was not mailed, or a poll does not end")


def finding(here: Machine, check: str) -> dict[str, str]:
    """What doctor says of one thing."""
    report = json.loads(here.run(*here.letsbe, "doctor", check=False).stdout)
    found: dict[str, str] = next(found for found in report["checks"] if found["check"] == check)
    return found
