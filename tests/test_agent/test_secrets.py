"""No secret in outcome, log, journal, error, or process list: seeded, and searched for."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from letsbe.agent import identity
from tests.agents import Agent, program
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect

SEEDED = "S3eded-'v$lue\"with\\all"
FORMS = [
    form.encode()
    for form in (SEEDED, json.dumps(SEEDED)[1:-1], SEEDED.replace("$", "$$"), json.dumps(json.dumps(SEEDED))[3:-3])
]


def payloads(root: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    env = str(root / ".env")
    return {
        "set": ("env-update", {"path": env, "set": {"DB_PASSWORD": SEEDED, "HOST": "db"}}),
        "change": ("env-update", {"path": str(root / "old.env"), "set": {"HOST": "other"}, "unset": ["DB_PASSWORD"]}),
        "inspect": ("env-inspect", {"path": str(root / "old.env")}),
        "refused": ("env-update", {"path": "/etc/nope.env", "set": {"DB_PASSWORD": SEEDED}}),
        "invalid": ("env-update", {"path": env, "set": {"DB_PASSWORD": SEEDED, "bad key": "x"}}),
        "write": ("file-write", {"path": str(root / "w.env"), "content": f"DB_PASSWORD={json.dumps(SEEDED)}\n"}),
        "overwrite": ("file-write", {"path": str(root / "old.env"), "content": "NOTHING=1\n"}),
        "look": ("file-inspect", {"path": str(root / "old.env"), "mode": "head"}),
        "chain": (
            "composite",
            {
                "steps": [
                    {"id": "a", "type": "ENV_UPDATE", "payload": {"path": str(root / "old.env"), "set": {"HOST": "x"}}},
                    {"id": "b", "type": "FILE_WRITE", "payload": {"path": "/etc/nope", "content": SEEDED}},
                ]
            },
        ),
    }


@pytest.mark.parametrize("name", payloads(Path("/")))
def test_seeded_secret_is_nowhere(agent: Agent, name: str) -> None:
    quoted = SEEDED.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    (agent.root / "old.env").write_text(f'HOST=db\nDB_PASSWORD="{quoted}"\n')
    (agent.root / ".env").write_text("HOST=db\n")
    command, payload = payloads(agent.root)[name]
    watcher = Watcher()
    with watcher:
        child = subprocess.run(
            [*program(), command, "-", "--diff", "-vv"],
            input=json.dumps(payload).encode(),
            env=agent.environment(),
            capture_output=True,
            check=False,
        )
    history = agent.cli("history")
    seen = {
        "standard output": child.stdout,
        "standard error": child.stderr,
        "history": history.stdout,
        "process list": b"\n".join(watcher.seen),
        "log": agent.log_file.read_bytes() if agent.log_file.exists() else b"",
        **{path.name: path.read_bytes() for path in agent.state_dir.glob("state.db*")},
    }
    assert child.stdout
    for where, content in seen.items():
        for form in FORMS:
            assert form not in content, where


class Watcher:
    """Reads every command line on the machine, over and over."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes())
                except OSError:
                    continue


def test_tokens_and_keys_are_in_no_log_and_no_command_line(orchestrator: Orchestrator, agent: Agent) -> None:
    token = orchestrator.enrol()
    connect(agent, orchestrator, token)
    section = msgspec.to_builtins(agent.config.orchestrator)
    agent.configure(orchestrator=section, log={"file": str(agent.log_file), "level": "debug"})
    trace = agent.base / "trace"
    tracing = ["strace", "-f", "-s", "4096", "-v", "-e", "trace=execve", "-o", str(trace)]
    said = b""
    for number in range(2):  # the registration, then a poll with what it brings
        if number:
            orchestrator.submit("ECHO", agent=agent_id(agent))
        command = [*tracing, *program(), "poll", "-vv"]
        done = subprocess.run(command, env=agent.environment(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr + trace.read_bytes()
    me = identity.load(str(agent.state_dir))
    assert me is not None
    assert b"poll" in said
    log = agent.log_file.read_bytes() if agent.log_file.exists() else b""
    journal = b"".join(path.read_bytes() for path in agent.state_dir.glob("state.db*"))
    for secret in (token, me.agent_token, me.private_key):
        assert secret
        assert secret.encode() not in said + log + journal
