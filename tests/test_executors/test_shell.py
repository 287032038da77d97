from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, program

PYTHON = os.path.realpath(sys.executable)
SH = os.path.realpath("/bin/sh")


def allow(agent: Agent, *rules: dict[str, Any], **shell: Any) -> None:
    agent.configure(shell={"allow": list(rules), **shell})


def script(agent: Agent, text: str, **rule: Any) -> list[str]:
    """Allow exactly one shell script, and give the argv that runs it."""
    allow(agent, {"program": SH, "args": ["-c", text], **rule})
    return [SH, "-c", text]


def test_default_rules_let_read(agent: Agent) -> None:
    outcome = agent.run("SHELL", {"argv": ["uptime"]})
    assert outcome.success
    assert outcome.changed is False
    assert outcome.data["rc"] == 0
    assert "load average" in outcome.data["stdout"]
    assert outcome.data["rule"] == "/usr/bin/uptime"


def test_defaults_can_be_taken_away(agent: Agent) -> None:
    agent.configure(shell={"defaults": False})
    outcome = agent.run("SHELL", {"argv": ["/usr/bin/uptime"]})
    assert outcome.status == "refused"


def test_failure_is_told_with_its_output(agent: Agent) -> None:
    argv = script(agent, "echo out; echo err >&2; exit 3")
    outcome = agent.run("SHELL", {"argv": argv})
    assert outcome.error is not None
    assert outcome.error.code == "command_failed"
    assert "exit code 3" in outcome.error.message
    assert (outcome.data["rc"], outcome.data["stdout"], outcome.data["stderr"]) == (3, "out\n", "err\n")
    assert outcome.changed is True


def test_signal_is_told(agent: Agent) -> None:
    outcome = agent.run("SHELL", {"argv": script(agent, "kill -SEGV $$")})
    assert (outcome.data["rc"], outcome.data["signal"]) == (None, "SIGSEGV")


def test_grandchildren_that_ignore_sigterm_are_dead_after_the_deadline(agent: Agent) -> None:
    marker = f"3{os.getpid()}"
    text = (
        f'trap "" TERM; (trap "" TERM; sleep {marker}1) & setsid sh -c "trap \'\' TERM; sleep {marker}2" & '
        f"(setsid sleep {marker}3 >/dev/null 2>&1 &); echo started; sleep {marker}4"
    )
    began = time.monotonic()
    outcome = agent.run("SHELL", {"argv": script(agent, text), "timeout_s": 1})
    assert outcome.status == "timed_out"
    assert outcome.data["timed_out"] is True
    assert outcome.data["stdout"] == "started\n"
    assert time.monotonic() - began < 30
    assert running(f"sleep {marker}") == []


def test_what_is_left_in_the_background_is_killed_and_told(agent: Agent) -> None:
    marker = f"4{os.getpid()}"
    text = f"sleep {marker}1 & (setsid sleep {marker}2 >/dev/null 2>&1 &); echo done"
    outcome = agent.run("SHELL", {"argv": script(agent, text)})
    assert outcome.success
    assert outcome.data["left_behind"] == 2
    assert "killed" in outcome.warnings[0]
    assert running(f"sleep {marker}") == []


def test_gigabyte_of_output_costs_bounded_memory(agent: Agent) -> None:
    text = "echo head; head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo tail"
    argv = script(agent, text)
    payload = json.dumps({"argv": argv, "max_output": 4096})
    done = subprocess.run(
        ["/usr/bin/env", "time", "-f", "%M", *program(), "shell", payload],
        env=agent.environment(), capture_output=True, check=True,
    )  # fmt: skip
    data = json.loads(done.stdout)["data"]
    assert data["stdout"].startswith("head\nxxx")
    assert data["stdout"].endswith("xxx\ntail\n")
    assert len(data["stdout"]) < 4200
    assert data["truncated"] is True
    assert data["stdout_cut"] == 1073741824 + len("head\n\ntail\n") - 4096
    assert int(done.stderr.split()[-1]) < 80 * 1024, "resident kilobytes"


def test_standard_input_reaches_it(agent: Agent) -> None:
    argv = script(agent, "wc -c", stdin=True)
    outcome = agent.run("SHELL", {"argv": argv, "stdin": "x" * 300_000})
    assert outcome.data["stdout"].strip() == "300000"


def test_environment_is_clean(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_TEST", "x")
    monkeypatch.setenv("PYTHONPATH", "/tmp")
    monkeypatch.setenv("PATH", "/tmp/evil")
    outcome = agent.run("SHELL", {"argv": script(agent, "/usr/bin/env; umask; ls /proc/self/fd", env=["COLOUR"]),
                                  "env": {"COLOUR": "red"}})  # fmt: skip
    lines = outcome.data["stdout"].splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= {
        "PATH",
        "HOME",
        "LANG",
        "USER",
        "LOGNAME",
        "TZ",
        "LETSBE_RUN",
        "COLOUR",
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert "COLOUR=red" in lines
    assert "0022" in lines
    assert set(lines[lines.index("0022") + 1 :]) <= {"0", "1", "2", "3"}


def test_guards(agent: Agent) -> None:
    path = agent.root / "made"
    argv = script(agent, f"touch {path}")
    first = agent.run("SHELL", {"argv": argv, "creates": str(path)})
    second = agent.run("SHELL", {"argv": argv, "creates": str(path)})
    assert (first.changed, first.data["ran"]) == (True, True)
    assert (second.changed, second.data["ran"]) == (False, False)
    path.unlink()
    third = agent.run("SHELL", {"argv": argv, "removes": str(path)})
    assert third.data["ran"] is False


def test_check_mode_runs_only_what_reads(agent: Agent) -> None:
    path = agent.root / "made"
    outcome = agent.run("SHELL", {"argv": script(agent, f"touch {path}")}, check=True)
    assert (outcome.changed, outcome.data["ran"]) == (True, False)
    assert not path.exists()
    assert agent.run("SHELL", {"argv": ["uptime"]}, check=True).data["ran"] is True


def test_working_directory_is_below_a_root(agent: Agent) -> None:
    (agent.root / "sub").mkdir()
    argv = script(agent, "pwd -P")
    assert agent.run("SHELL", {"argv": argv, "cwd": f"{agent.root}/sub"}).data["stdout"] == f"{agent.root}/sub\n"
    for cwd in ("/etc", f"{agent.root}/../..", f"{agent.root}/none"):
        assert not agent.run("SHELL", {"argv": argv, "cwd": cwd}).success


def test_secrets_are_redacted(agent: Agent) -> None:
    argv = script(agent, "echo $DB_PASSWORD; echo API_KEY=abcdefgh", env=["DB_PASSWORD"])
    payload = {"argv": argv, "env": {"DB_PASSWORD": "hunter22-long"}}
    outcome = agent.json("shell", "-", stdin=json.dumps(payload).encode())
    assert outcome["data"]["stdout"] == "[redacted]\nAPI_KEY=[redacted]\n"
    text = (agent.state_dir / "state.db").read_bytes() + agent.log_file.read_bytes()
    assert b"hunter22" not in text


def test_command_of_a_killed_agent_is_ended_by_the_next_run(agent: Agent) -> None:
    marker = f"5{os.getpid()}"
    argv = script(agent, f"setsid sleep {marker}")
    child = subprocess.Popen(
        [*program(), "shell", json.dumps({"argv": argv})], env=agent.environment(), stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 20
    while not running(f"sleep {marker}") and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(child.pid, 9)
    child.wait()
    assert running(f"sleep {marker}")
    runs = agent.json("history")
    assert running(f"sleep {marker}") == []
    assert runs[0]["outcome"]["status"] == "interrupted"
    assert "what it had started still ran and was killed" in runs[0]["outcome"]["error"]["message"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGHUP, 130)])
def test_agent_that_is_asked_to_end_ends_its_command_first(number: int, code: int, agent: Agent) -> None:
    marker = f"6{os.getpid()}{int(number)}"
    last_words = f"trap 'echo last words >&2; echo cleaned > {agent.root}/trace; exit' TERM"
    text = f"{last_words}; (setsid sleep {marker} &); sleep {marker} & wait; wait; sleep 3"
    payload = json.dumps({"argv": script(agent, text)})
    child = subprocess.Popen([*program(), "shell", payload], env=agent.environment(), stdout=subprocess.PIPE)
    until = time.monotonic() + 20
    while len(running(f"sleep {marker}")) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    child.send_signal(number)
    stdout, _ = child.communicate(timeout=20)
    assert running(f"sleep {marker}") == []
    assert (agent.root / "trace").read_text() == "cleaned\n"
    assert child.returncode == code
    assert json.loads(stdout)["status"] in ("cancelled", "interrupted")


def test_secret_is_not_seen_in_halves_where_output_is_cut(agent: Agent) -> None:
    secret = "hunter22-long-and-secret"
    text = f'n=0; while [ $n -lt 400 ]; do echo "$n DB_PASSWORD={secret}"; n=$((n+1)); done'
    argv = script(agent, text)
    for size in range(1024, 1064):
        stdout = agent.run("SHELL", {"argv": argv, "max_output": size}).data["stdout"]
        for line in stdout.splitlines():
            assert re.fullmatch(r"\d+ DB_PASSWORD=\[redacted\]|\[\d+ bytes cut\]", line), line


def test_host_limits_the_output(agent: Agent) -> None:
    text = "seq 1 100000"
    agent.configure(shell={"allow": [{"program": SH, "args": ["-c", text]}]}, limits={"output_bytes": 2048})
    outcome = agent.run("SHELL", {"argv": [SH, "-c", text], "max_output": 1_000_000})
    assert outcome.data["truncated"] is True
    assert len(outcome.data["stdout"]) < 2100
    assert outcome.data["stdout"].startswith("1\n2\n")
    assert outcome.data["stdout"].endswith("99999\n100000\n")


def test_shorter_deadline_of_the_run_counts(agent: Agent) -> None:
    outcome = agent.run("SHELL", {"argv": script(agent, "sleep 60")}, timeout_s=0.5)
    assert outcome.status == "timed_out"
    assert outcome.error is not None
    assert "0.5 s" in outcome.error.message
    assert outcome.duration_ms < 5_000


def test_output_that_is_not_text_is_replaced(agent: Agent) -> None:
    outcome = agent.run("SHELL", {"argv": script(agent, "printf '\\377a\\0b'")})
    assert outcome.data["stdout"] == "\ufffda\0b"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("argv", []),
        ("argv", "uptime"),
        ("argv", ["x"] * 257),
        ("argv", ["x" * 4097]),
        ("timeout_s", 0),
        ("timeout_s", 901),
        ("max_output", 1),
        ("max_output", 2 << 20),
        ("stdin", "x" * (1024 * 1024 + 1)),
        ("env", {"A": 1}),
        ("env", {"A": "x" * 32_769}),
        ("cwd", "x" * 4096),
    ],
)
def test_payload_is_bounded(field: str, value: object, agent: Agent) -> None:
    outcome = agent.run("SHELL", {"argv": ["uptime"], field: value})
    assert outcome.error is not None
    assert outcome.error.code == "invalid_payload"
    assert outcome.error.details["path"].startswith(f"$.{field}")


def running(command: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (entry / "stat").read_text().rpartition(") ")[2][0]
            except OSError:
                continue
            if words.startswith(command) and state != "Z":
                found.append(words)
    return found
