"""What a task type needs is looked for before locks and effects, and told alike by the error, doctor and ECHO."""

from __future__ import annotations

import grp
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letsbe.executors.file_write import FileWrite
from letsbe.host import needs
from tests.agents import Agent, program

#: nobody: a user that owns nothing and is in no group.
USER = 65534


@pytest.fixture
def unprivileged() -> Iterator[Agent]:
    """An agent of a user who is not root."""
    base = Path(tempfile.mkdtemp(prefix="letsbe-needs-"))
    try:
        agent = Agent(base)
        for path in (base, *base.iterdir()):
            os.chown(path, USER, USER)
        yield agent
    finally:
        shutil.rmtree(base)


def run_as_user(agent: Agent, *words: str, groups: str = "") -> Any:
    """What ``letsbe`` says on standard output, run by that user with these groups more."""
    keep = ["--groups", groups] if groups else ["--clear-groups"]
    argv = ["setpriv", "--reuid", str(USER), "--regid", str(USER), *keep, *program(), *words]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(argv, env=agent.environment(), capture_output=True, timeout=120, check=False, cwd=root)
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout)


def ability(agent: Agent, task_type: str, groups: str = "") -> dict[str, Any]:
    outcome = run_as_user(agent, "echo", '{"probe": true}', groups=groups)
    (found,) = [one for one in outcome["data"]["abilities"] if one["type"] == task_type]
    return dict(found)


@pytest.mark.usefixtures("engine")
def test_without_the_docker_group_one_reason_is_told_everywhere(unprivileged: Agent) -> None:
    outcome = run_as_user(unprivileged, "log-tail", '{"containers": ["none"]}')
    assert outcome["error"]["code"] == "docker_unavailable"
    assert outcome["error"]["details"] == {"missing": ["docker"]}
    reason, hint = outcome["error"]["message"].removeprefix("LOG_TAIL can't work here: "), outcome["error"]["hint"]
    assert "no permission to ask the Docker engine" in reason
    assert "docker group" in hint
    found = ability(unprivileged, "LOG_TAIL")
    assert (found["works"], found["missing"], found["reasons"]) == (False, ["docker"], [f"{reason}. {hint}"])
    findings = run_as_user(unprivileged, "doctor")["checks"]
    told = {finding["observed"]: finding["hint"] for finding in findings}
    assert told[f"LOG_TAIL can't work: {reason}"] == hint
    assert told[f"SERVICE_DISCOVER does less: {reason}"] == hint
    some = run_as_user(unprivileged, "service-discover", '{"include": ["containers", "listeners"]}')
    assert some["success"] is True
    assert "no permission" in some["warnings"][0]


@pytest.mark.usefixtures("engine")
def test_with_the_docker_group_the_engine_may_be_asked(unprivileged: Agent) -> None:
    group = str(os.stat("/var/run/docker.sock").st_gid)
    assert grp.getgrgid(int(group)).gr_name == "docker"
    outcome = run_as_user(unprivileged, "log-tail", '{"containers": ["there-is-no-such-one"]}', groups=group)
    assert outcome["error"]["code"] == "container_not_found"
    assert ability(unprivileged, "LOG_TAIL", group)["works"] is True
    assert ability(unprivileged, "SERVICE_DISCOVER", group)["limited"] == []


@pytest.mark.parametrize(
    ("lacking", "code", "hint"),
    [
        (("root",), "needs_root", "--user root"),
        (("no-such-program",), "needs_missing", "Install no-such-program"),
        (("root", "no-such-program"), "needs_missing", "Install no-such-program"),
        (("compose",), "needs_missing", "docker-compose-plugin"),
    ],
    ids=["root", "a program", "several", "compose"],
)
def test_nothing_is_done_when_something_is_missing(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...], code: str, hint: str
) -> None:
    monkeypatch.setattr(FileWrite, "needs", lacking)
    monkeypatch.setattr(needs, "is_root", lambda: False)
    monkeypatch.setattr(needs, "_PLUGIN_DIRECTORIES", ())
    monkeypatch.setenv("HOME", str(agent.base))
    payload = {"path": f"{agent.root}/x", "content": "x"}
    first = {"id": "first", "type": "SHELL", "payload": {"argv": ["/usr/bin/uptime"]}}
    for outcome in (
        agent.run("FILE_WRITE", payload),
        agent.run("COMPOSITE", {"steps": [first, {"id": "w", "type": "FILE_WRITE", "payload": payload}]}),
    ):
        assert outcome.error is not None
        assert outcome.error.code == code
        assert outcome.error.details == {"missing": list(lacking)}
        assert hint in outcome.error.hint
        assert not outcome.data
    assert not (agent.root / "x").exists()
    assert not (agent.state_dir / "locks").exists()
    assert agent.json("history") == []


def test_what_listens_nowhere_and_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_CONNECT_S", 0.1)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    (gone,) = needs.missing(["docker"])
    assert (gone.error.code, "No such file" in gone.error.message) == ("docker_unavailable", True)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/docker.sock")
        (refused,) = needs.missing(["docker"])
        assert "refused" in refused.error.message
        silent.listen(0)
        assert needs.missing(["docker"]) == []  # it takes connections; whether it answers is found on the way
