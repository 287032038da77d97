"""Standard streams that whoever started letsbe has closed."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.agents import Agent, program


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_of_the_rest(agent: Agent, closed: str) -> None:
    agent.configure(log={"file": "/dev/null/log"})  # a reason to say something on standard error
    path = agent.root / "note"
    payload = json.dumps({"path": str(path), "content": "x"})
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *program(), "file-write", payload, "--output", "json"]
    done = subprocess.run(command, capture_output=True, env=agent.environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert path.read_text() == "x"
    if ">&-" in closed.split():
        assert done.stdout == b""
    else:
        assert json.loads(done.stdout)["success"] is True
    warning = b"" if "2>&-" in closed else b"letsbe: warning: log file /dev/null/log: File exists\n"
    assert done.stderr == warning
