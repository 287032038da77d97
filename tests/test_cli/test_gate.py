"""``letsbe gate`` behind a real sshd: JSON both ways, exit codes, who asked, and clients that want more."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent.gate import client
from letsbe.agent.journal_rows import Run
from letsbe.agent.locks import Locks, holder_now
from letsbe.cli.main import letsbe
from tests.agents import Agent, tree
from tests.sshd import Sshd, keygen, sshd

RULES = {
    "shell": {"allow": [{"program": "/usr/bin/sleep", "args": ["<int>"]}]},
    "policy": {"ssh": {"deny": ["ENV_INSPECT"]}},
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return Agent(tmp_path_factory.mktemp("host"), **RULES)


@pytest.fixture(scope="module")
def server(host: Agent) -> Iterator[Sshd]:
    with sshd(host.base / "sshd", host.config_file) as running:
        yield running


def newest(agent: Agent) -> tuple[Run, dict[str, Any]]:
    journal = agent.journal()
    try:
        (run,) = journal.latest(1)
    finally:
        journal.close()
    return run, json.loads(run.caller)


def test_json_both_ways(server: Sshd) -> None:
    done = server.ssh("""echo '{"message": "as an argument"}'""")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["data"]["message"] == "as an argument"
    done = server.ssh("letsbe", "echo", "-", stdin=b'{\n"message": "by standard input \xc3\xa9"}\n')
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["data"]["message"] == "by standard input é"


def test_a_change_is_journaled_with_who_asked(server: Sshd, host: Agent) -> None:
    path = host.root / "written"
    payload = json.dumps({"path": str(path), "content": "over ssh\n"}).encode()
    checked = json.loads(server.ssh("file-write - --check --diff", stdin=payload).stdout)
    assert (checked["check"], checked["changed"]) == (True, True)
    assert "+over ssh" in checked["data"]["diff"]
    assert not path.exists()
    done = server.ssh("file-write", "-", stdin=payload)
    assert done.returncode == 0
    assert path.read_text() == "over ssh\n"
    run, caller = newest(host)
    assert run.id == json.loads(done.stdout)["task_id"]
    assert run.origin == "ssh"
    assert caller["ssh_key"] == server.fingerprint
    assert caller["ssh_user"] == "root"
    assert caller["ssh_connection"].startswith("127.0.0.1 ")
    assert caller["ssh_connection"].endswith(f" 127.0.0.1 {server.port}")
    assert server.fingerprint.encode() in host.cli("history", run.id, "--output", "text").stdout


def test_a_certificate_s_holder_is_journaled_by_name(server: Sshd, host: Agent) -> None:
    gate = (server.base / "gate").read_text()
    keygen("-q", "-t", "ed25519", "-N", "", "-f", str(server.base / "holder"))
    options = ["-O", "clear", "-O", f"force-command={gate}", "-n", "root", "-I", "ann"]
    keygen("-q", "-s", str(server.base / "ca"), *options, str(server.base / "holder.pub"))
    payload = json.dumps({"path": str(host.root / "by-ann"), "content": "x"}).encode()
    assert server.ssh("file-write -", stdin=payload, key="holder").returncode == 0
    run, caller = newest(host)
    assert (run.origin, caller["requested_by"]) == ("ssh", "ann")
    assert caller["ssh_key"].startswith("SHA256:")


@pytest.mark.parametrize(
    ("task", "payload", "options", "code"),
    [
        ("file-write", {"path": "{root}/same", "content": "x"}, [], 0),
        ("file-inspect", {"path": "{root}/nothing"}, [], 1),
        ("file-write", {"path": "{root}/same", "contents": "x"}, [], 2),
        ("env-inspect", {"path": "{root}/.env"}, [], 4),
        ("file-write", {"path": "/etc/same", "content": "x"}, [], 4),
        ("file-write", {"path": "{root}/busy", "content": "x"}, ["--lock-wait", "0.1"], 5),
        ("shell", {"argv": ["sleep", "30"]}, ["--timeout", "0.3"], 124),
    ],
    ids=["succeeded", "failed", "bad payload", "policy", "outside", "busy", "timed out"],
)
def test_outcome_and_exit_code_are_those_of_a_run_by_hand(
    task: str,
    payload: dict[str, Any],
    options: list[str],
    code: int,
    server: Sshd,
    host: Agent,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = json.dumps(payload).replace("{root}", str(host.root))
    monkeypatch.setenv("SSH_CONNECTION", "127.0.0.1 1 127.0.0.1 2")
    monkeypatch.delenv("SSH_TTY", raising=False)
    with Locks(str(host.state_dir)).hold({f"file:{host.root}/busy"}, holder_now("FILE_WRITE", "another")):
        if code == 0:  # the second time nothing is left to change
            server.ssh(task, "-", stdin=text.encode())
        over_ssh = server.ssh(task, "-", *options, stdin=text.encode())
        words = [task, text, *options, "--config", str(host.config_file), "--output", "json"]
        by_hand = letsbe.main(words, standalone_mode=False)
    assert over_ssh.returncode == by_hand == code
    assert _unvarying(over_ssh.stdout) == _unvarying(capfd.readouterr().out)


def _unvarying(text: str | bytes) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads(text)
    for varying in ("task_id", "started_at", "duration_ms"):
        del outcome[varying]
    return outcome


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"id", 4),
        (b"/bin/sh", 4),
        (b"sh -c 'touch {root}/pwned'", 4),
        (b"letsbe poll", 4),
        (b"letsbe gate", 4),
        (b"letsbe undo 0", 4),
        (b"hold 2h x", 4),
        (b"ECHO", 4),
        (b"scp -t /etc", 4),
        (b"echo --config /tmp/other.yml", 4),
        (b"echo @{root}/../letsbe.yml", 4),
        (b"echo '{}' ; touch {root}/pwned", 2),
        (b"echo '{}'; touch {root}/pwned", 2),
        (b"echo $(touch {root}/pwned)", 2),
        (b"echo `touch {root}/pwned`", 2),
        (b"echo '{}' & touch {root}/pwned", 2),
        (b"echo '{}' | tee {root}/pwned", 2),
        (b"echo '{}' > {root}/pwned", 2),
        (b"echo '{}'\ntouch {root}/pwned", 2),
        (b"echo '", 2),
        (b"echo \xff", 2),
        (b"''", 4),
        (b"-", 4),
        (b"--version", 4),
    ],
    ids=lambda value: repr(value)[2:42] if isinstance(value, bytes) else "",
)
def test_hostile_command_lines_do_nothing(
    line: bytes, code: int, agent: Agent, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert agent.run("FILE_WRITE", {"path": str(agent.root / "first"), "content": "x"}).success
    before = tree(agent.root)
    command = line.replace(b"{root}", str(agent.root).encode())
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", command.decode("utf-8", "surrogateescape"))
    assert letsbe.main(["gate", "--config", str(agent.config_file)], standalone_mode=False) == code
    outcome = json.loads(capfd.readouterr().out)
    assert outcome["success"] is False
    assert outcome["error"]["hint"]
    assert tree(agent.root) == before
    run, _ = newest(agent)
    assert run.type == "FILE_WRITE", "nothing else was run"
    assert "ssh client refused" in agent.log_file.read_text()


def test_hostile_clients_get_no_further_than_the_gate(server: Sshd, host: Agent) -> None:
    before = tree(host.root)
    done = server.ssh(f"echo '{{}}'; touch {host.root}/pwned")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "usage")
    done = server.ssh("sftp", options=("-s",))  # a subsystem
    assert done.returncode == 4
    done = server.ssh()  # a shell
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"this key opens no shell" in done.stderr
    asked = server.ssh("env-inspect", "-", stdin=b'{"path": "/x/.env"}', options=("-tt",))
    assert b"PTY allocation request failed" in asked.stderr
    other = host.base / "other.yml"
    other.write_text("policy: {ssh: {allow: ['*']}}\n")
    sent = ("-o", f"SetEnv=LETSBE_CONFIG={other}")
    done = server.ssh("env-inspect", "-", stdin=b'{"path": "/x/.env"}', options=sent)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "policy_denied")
    assert tree(host.root) == before


def test_a_client_with_a_terminal_is_of_the_origin_ssh_too(server: Sshd, host: Agent) -> None:
    gate = (server.base / "gate").read_text()
    keygen("-q", "-t", "ed25519", "-N", "", "-f", str(server.base / "lax"))
    with (server.base / "authorized_keys").open("a") as keys:
        keys.write(f'command="{gate}" {(server.base / "lax.pub").read_text()}')  # without restrict
    done = server.ssh("""env-inspect '{"path": "/x/.env"}'""", options=("-tt",), key="lax")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["details"]["origin"] == "ssh"


def test_a_run_outlives_its_client(server: Sshd, host: Agent) -> None:
    assert server.ssh("""shell '{"argv": ["sleep", "0"]}'""").returncode == 0  # so that there is a newest run
    before = newest(host)[0].id
    asking = subprocess.Popen([*server.argv(), """shell '{"argv": ["sleep", "1"]}'"""], stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while newest(host)[0].id == before or newest(host)[0].state != "started":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    asking.kill()
    asking.wait()
    while newest(host)[0].state == "started":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    outcome = newest(host)[0].decoded_outcome()
    assert outcome is not None
    assert outcome.success


def test_a_program_started_anew_as_another_user_still_knows_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "key"))
    told = tmp_path / "sshauth"
    told.write_text(f"publickey {(tmp_path / 'key.pub').read_text()}")
    told.chmod(0o600)
    monkeypatch.setenv("SSH_USER_AUTH", str(told))
    monkeypatch.setenv("LETSBE_SSH_KEY", "SHA256:forged somebody")
    asked = client()
    assert asked.ssh_key != "SHA256:forged"
    assert asked.requested_by is None
    os.seteuid(65_534)
    try:
        assert client() == asked
    finally:
        os.seteuid(0)
    told.unlink()
    assert client().ssh_key is None
