"""Bad input, each with its place and a hint: what an administrator reads at three in the morning."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from letsbe.agent.locks import Locks, holder_now
from tests.agents import Agent, program


@pytest.mark.parametrize(
    ("words", "stdin", "code", "message"),
    [
        (["echo", '{"mesage": "x"}'], b"", "invalid_payload", "unknown field `mesage` - at $.mesage"),
        (["echo", '{"message": 5}'], b"", "invalid_payload", "Expected `str`, got `int` - at $.message"),
        (["echo", json.dumps({"message": "x" * 5000})], b"", "invalid_payload", "length <= 4096"),
        (["echo", "[]"], b"", "invalid_payload", "a payload is a JSON object"),
        (["echo", '{"message": }'], b"", "invalid_json", "line 1, column 13"),
        (["echo", "{'message': 1}"], b"", "invalid_json", "line 1, column 2"),
        (["echo", ""], b"", "invalid_json", "is empty"),
        (["echo", "-"], b"", "invalid_json", "standard input is empty"),
        (["echo", "-"], b"\n \n", "invalid_json", "standard input is empty"),
        (["echo", "-"], b'{"message": "\xff"}', "invalid_json", "standard input: byte 13 is not UTF-8 (0xff)"),
        (["echo", "-"], b'{"message": "' + b"x" * (8 << 20) + b'"}', "payload_too_large", "at most 8388608"),
        (["echo", "@/none.json"], b"", "usage", "payload file /none.json: No such file"),
        (["file-write", '{"content": "x"}'], b"", "invalid_payload", "missing required field `path`"),
    ],
    ids=["unknown field", "wrong type", "too long", "no object", "invalid", "quotes", "empty", "empty stdin",
         "blank stdin", "not UTF-8", "too large", "no file", "missing field"],
)  # fmt: skip
def test_payload(agent: Agent, words: list[str], stdin: bytes, code: str, message: str) -> None:
    done = agent.cli(*words, stdin=stdin)
    assert done.returncode == 2
    outcome = json.loads(done.stdout)
    assert outcome["error"]["code"] == code
    assert message in outcome["error"]["message"]
    assert outcome["error"]["hint"]
    assert outcome["success"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ecko"], "Did you mean echo?"),
        (["file_write"], "Did you mean file-write?"),
        (["echo", "--mesage", "x"], "--message"),
        (["echo", "--probe=yes"], "does not take a value"),
        (["echo", "--timeout", "soon"], "'soon' is not a valid float"),
        (["echo", "--timeout", "nan"], "'--timeout': 'nan' is no number of seconds"),
        (["echo", "--lock-wait", "NaN"], "'--lock-wait': 'NaN' is no number of seconds"),
        (["echo", "--timeout", "inf"], "'--timeout': inf is not in the range"),
        (["echo", "{}", "{}"], "unexpected extra argument"),
        (["schema", "NOPE"], "no executor 'NOPE'"),
        (["undo", "nope"], "no run nope"),
        (["history", "-n", "0"], "0 is not in the range"),
        (["echo", "{}", "--config", "/none.yml"], "/none.yml: no such file"),
    ],
)
def test_command_line(agent: Agent, words: list[str], message: str) -> None:
    done = agent.cli(*words)
    assert done.returncode in (1, 2)
    assert message in done.stderr.decode()
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_typo_in_the_configuration_names_its_line(agent: Agent) -> None:
    agent.config_file.write_text("roots: [/opt/letsbe]\npoll:\n  splays: 3\n")
    done = agent.cli("echo", "{}")
    assert done.returncode == 2
    assert f"{agent.config_file}, line 3: unknown key poll.splays" in done.stderr.decode()
    assert "Did you mean splay_s?" in done.stderr.decode()


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_configuration_that_others_can_write(agent: Agent, mode: int) -> None:
    agent.config_file.chmod(mode)
    os.chown(agent.config_file, 0, 1)
    done = agent.cli("echo", "{}")
    assert done.returncode == 2
    assert "chmod go-w" in done.stderr.decode()


def test_busy_names_the_holder_and_exits_5(agent: Agent) -> None:
    target = agent.root / "x"
    agent.state_dir.mkdir()
    with Locks(str(agent.state_dir)).hold({f"file:{target}"}, holder_now("FILE_WRITE", "some-task")):
        done = agent.cli("file-write", json.dumps({"path": str(target), "content": "x"}))
        other = agent.cli("file-write", json.dumps({"path": str(agent.root / "y"), "content": "y"}))
    assert done.returncode == 5
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "busy"
    assert error["details"]["holder"]["pid"] == os.getpid()
    assert "some-task" in error["message"]
    assert "since" in error["message"]
    assert "--lock-wait" in error["hint"]
    assert not target.exists()
    assert other.returncode == 0, "unrelated work waits for nobody"


def test_flags_win_over_json(agent: Agent) -> None:
    outcome = agent.json("echo", '{"message": "json"}', "--message", "flag")
    assert outcome["data"]["message"] == "flag"


def test_payload_file_and_standard_input(agent: Agent) -> None:
    file = agent.base / "payload.json"
    file.write_text('{"message": "from a file"}')
    assert agent.json("echo", f"@{file}")["data"]["message"] == "from a file"
    assert agent.json("echo", "-", stdin=b'{"message": "piped"}')["data"]["message"] == "piped"


def test_internal_errors_keep_their_traceback_in_the_log(agent: Agent, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import letsbe.host.machine as m\ndef broken(): raise ZeroDivisionError('seeded')\nm.uptime_s = broken\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "letsbe", "echo", "{}"],
        env=agent.environment({"PYTHONPATH": f"{broken}:{Path(__file__).parents[2]}"}),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "internal"
    assert "seeded" not in done.stdout.decode()
    assert "ZeroDivisionError: seeded" in agent.log_file.read_text()


def test_terminal_gets_a_drawing_and_a_pipe_gets_json(agent: Agent) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*program(), "echo", '{"mesage": "x"}'], stdout=child, stderr=child, env=agent.environment()
    )
    os.close(child)
    text = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    assert process.wait() == 2
    os.close(parent)
    assert "✗ ECHO failed" in text.decode()
    assert "Did you mean `message`?" in text.decode()
    assert b"{" not in text
