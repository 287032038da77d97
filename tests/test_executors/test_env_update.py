"""ENV_UPDATE, through the runner, on real files, with docker compose and the engine."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from letsbe.host.processes import Processes
from letsbe.protocol import Outcome
from tests.agents import Agent, tree
from tests.env_oracles import bash_reads, compose_reads
from tests.stack_trees import plant

SECRET = "q7Rz0vT2mK9xW4bN8cL1"


def update(agent: Agent, path: str = "app.env", **payload: Any) -> Outcome:
    request = {key: payload.pop(key) for key in ("check", "diff") if key in payload}
    return agent.run("ENV_UPDATE", {"path": str(agent.root / path), **payload}, **request)


def succeeded(outcome: Outcome) -> dict[str, Any]:
    assert outcome.error is None, outcome.error
    return outcome.data


def test_keys_are_set_and_unset(agent: Agent) -> None:
    path = agent.root / "app.env"
    path.write_bytes(b"# app\r\nexport A=1 # one\r\nB=2\r\nC='3'\r\nURL=http://$A/")
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    data = succeeded(update(agent, set={"A": "x y", "C": "3", "N": "new"}, unset=["B", "GONE"]))
    assert path.read_bytes() == b"# app\r\nexport A='x y' # one\r\nC='3'\r\nURL=http://$A/\r\nN=new\r\n"
    assert (data["added"], data["changed"], data["removed"]) == (["N"], ["A"], ["B"])
    assert (data["unchanged"], data["dependents"]) == (["C", "GONE"], ["URL"])
    assert data["sha256_before"] != data["sha256_after"]
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 4321)


def test_same_values_touch_nothing(agent: Agent) -> None:
    path = agent.root / "app.env"
    path.write_text('A = "1"\nB=x\n')
    before = path.stat()
    outcome = update(agent, set={"A": "1", "B": "x"}, unset=["C"])
    data = succeeded(outcome)
    assert not outcome.changed
    assert data["diff"] == ""
    assert data["sha256_before"] == data["sha256_after"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_is_made_only_when_asked_and_for_its_owner_alone(agent: Agent) -> None:
    refused = update(agent, set={"A": "1"})
    assert refused.error is not None
    assert refused.error.code == "file_not_found"
    data = succeeded(update(agent, set={"A": "1"}, create=True))
    assert data["created"]
    assert data["sha256_before"] is None
    assert (agent.root / "app.env").stat().st_mode & 0o7777 == 0o600
    assert not update(agent, set={"A": "1"}, create=True).changed


def test_nothing_to_write_makes_no_file(agent: Agent) -> None:
    outcome = update(agent, unset=["A"], create=True)
    assert not outcome.changed
    assert succeeded(outcome)["sha256_after"] is None
    assert list(agent.root.iterdir()) == []


def test_hostile_values_read_back_in_compose_and_bash(agent: Agent, tmp_path: Path) -> None:
    values = {"A": 'it\'s "$HOME" \\n #x', "B": "  a\tb\n`c`\n", "C": "${X:?}$$", "D": "", "E": "🙂=\r", "F": "\\"}
    succeeded(update(agent, set=values, create=True))
    content = (agent.root / "app.env").read_bytes()
    away = tmp_path / "away"
    away.mkdir()
    assert compose_reads(away, content, list(values)) == {"env_file": values, "dot_env": values}
    assert bash_reads(away, content, list(values)) == values


def test_a_value_that_bash_cannot_have_is_written_for_compose_with_a_warning(agent: Agent) -> None:
    outcome = update(agent, set={"A": "it's `date`"}, create=True)
    succeeded(outcome)
    assert any(warning.startswith("A: ") and "backticks" in warning for warning in outcome.warnings)


@pytest.mark.parametrize(
    ("payload", "code", "where"),
    [
        ({"set": {"1A": "x"}}, "invalid_payload", "$.set"),
        ({"set": {"A-B": "x"}}, "invalid_payload", "$.set"),
        ({"set": {"A\n": "x"}}, "invalid_payload", "$.set"),
        ({"set": {"": "x"}}, "invalid_payload", "$.set"),
        ({"set": {"K" * 257: "x"}}, "invalid_payload", "$.set"),
        ({"unset": ["A B"]}, "invalid_payload", "$.unset"),
        ({"set": {"A": "x"}, "unset": ["A"]}, "invalid_payload", "$.unset[0]"),
        ({"set": {"A": "x" * 32_769}}, "invalid_payload", "$.set.A"),
        ({"set": {"A": "ü" * 16_385}}, "invalid_payload", "$.set.A"),
        (
            {"set": {f"K{n}": "" for n in range(300)}, "unset": [f"U{n}" for n in range(201)]},
            "invalid_payload",
            "$.set",
        ),
        ({"set": {"A": "x\0y"}}, "value_not_representable", None),
        ({"set": {"A": "x y"}, "quote": "bare"}, "value_not_representable", None),
        ({"set": {"A": "x"}, "if_sha256": "0" * 64}, "precondition_failed", None),
        ({"set": {"A": "x"}, "if_sha256": "absent"}, "precondition_failed", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused(agent: Agent, payload: dict[str, Any], code: str, where: str | None) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    outcome = update(agent, **payload)
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.error.hint
    assert outcome.error.details.get("path") == where
    assert (agent.root / "app.env").read_text() == "A=1\n"


def test_the_digest_of_what_was_seen_guards_the_edit(agent: Agent) -> None:
    first = succeeded(update(agent, set={"A": "1"}, create=True, if_sha256="absent"))
    second = update(agent, set={"A": "2"}, if_sha256=first["sha256_after"])
    assert second.changed


def test_a_file_that_would_grow_too_large_is_left(agent: Agent) -> None:
    path = agent.root / "app.env"
    path.write_bytes(b"#" * (1024 * 1024 - 10) + b"\n")
    outcome = update(agent, set={"A": "x" * 100})
    assert outcome.error is not None
    assert outcome.error.code == "file_too_large"
    assert path.stat().st_size == 1024 * 1024 - 9


def test_a_file_that_compose_cannot_read_is_left_with_the_line_named(agent: Agent) -> None:
    (agent.root / "app.env").write_text(f"A=1\n\nMY KEY={SECRET}\n")
    outcome = update(agent, set={"A": "2"})
    assert outcome.error is not None
    assert outcome.error.code == "env_syntax"
    assert "line 3" in outcome.error.message
    assert str(agent.root / "app.env") in outcome.error.message
    assert SECRET not in repr(outcome)


def test_check_mode_tells_and_changes_nothing(agent: Agent) -> None:
    plant(agent.root, {"compose.yaml": "services: {web: {image: 'x:$TAG'}}\n", ".env": "TAG=1\n"})
    before = tree(agent.root)
    outcome = update(agent, ".env", set={"TAG": "2"}, check=True)
    assert outcome.changed
    assert succeeded(outcome)["affected_services"] == ["web"]
    assert tree(agent.root) == before


def test_the_old_content_can_be_had_back(agent: Agent) -> None:
    path = agent.root / "app.env"
    path.write_text("A=1\n")
    outcome = update(agent, set={"A": "2"})
    assert agent.cli("undo", str(outcome.task_id)).returncode == 0
    assert path.read_text() == "A=1\n"


def test_secrets_are_nowhere(agent: Agent) -> None:
    old, other = "old-0ld-Secret-value", "s p a c e d"
    text = (
        f"DB_PASSWORD='{old}'\nURL=http://x/?k={old}\nAPI_KEY={other}\nCERT_KEY='ab\ncd'\n# DB_PASSWORD={SECRET}\nB=1\n"
    )
    (agent.root / "app.env").write_text(text)
    outcome = update(agent, set={"DB_PASSWORD": SECRET, "SMTP_LOGIN": "xQ9f3KpZ7mW2vT5rB8nL4cY6", "APP_ENV": "prod"})
    data = succeeded(outcome)
    found = repr(outcome) + agent.log_file.read_text() if agent.log_file.exists() else repr(outcome)
    found += agent.cli("history", str(outcome.task_id), "--output", "json").stdout.decode()
    for secret in (old, SECRET, other, "xQ9f3KpZ7mW2vT5rB8nL4cY6", "s p a", "cd'"):
        assert secret not in found, secret
    assert "-DB_PASSWORD=[redacted]\n" in data["diff"]
    assert "+DB_PASSWORD=[redacted]\n" in data["diff"]
    assert "+APP_ENV=prod\n" in data["diff"]


STACK = {
    "s/compose.yaml": """
services:
  web: {image: "letsbe-test/busybox:1", ports: ["127.0.0.1:${PORT}:80"], env_file: app.env, stop_grace_period: 0s}
  job: {image: "letsbe-test/busybox:1", environment: {P: "${PORT}"}, stop_grace_period: 0s}
  db: {image: "letsbe-test/busybox:1", stop_grace_period: 0s}
""",
    "s/.env": "PORT=18473\n",
    "s/app.env": "A=1\n",
}


def test_what_compose_refuses_is_put_back(agent: Agent) -> None:
    plant(agent.root, STACK)
    path = agent.root / "s/.env"
    path.chmod(0o640)
    outcome = update(agent, "s/.env", set={"PORT": "not-a-port", "API_KEY": SECRET})
    assert outcome.error is not None
    assert outcome.error.code == "compose_refused"
    assert str(agent.root / "s") in outcome.error.message
    assert not outcome.changed
    assert path.read_text() == "PORT=18473\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert outcome.data["sha256_after"] == outcome.data["sha256_before"]
    assert SECRET not in repr(outcome)


def test_a_new_file_that_compose_refuses_is_removed(agent: Agent) -> None:
    plant(agent.root, {"s/compose.yaml": "services: {w: {image: x, ports: ['${PORT:-80}:80']}}\n"})
    outcome = update(agent, "s/.env", set={"PORT": "not-a-port"}, create=True)
    assert outcome.error is not None
    assert outcome.error.code == "compose_refused"
    assert not (agent.root / "s/.env").exists()


def test_a_stack_that_was_refused_before_is_not_blamed_on_the_change(agent: Agent) -> None:
    plant(agent.root, {**STACK, "s/.env": "PORT=wrong\n"})
    outcome = update(agent, "s/app.env", set={"A": "2"})
    assert outcome.changed
    assert any("as before this change" in warning for warning in outcome.warnings)
    assert succeeded(outcome)["stacks"][0]["valid"] is False
    mended = update(agent, "s/.env", set={"PORT": "18473"})
    assert succeeded(mended)["stacks"][0]["valid"] is True
    assert not any("refuses" in warning for warning in mended.warnings)


def test_a_change_by_somebody_else_after_the_refusal_is_kept(agent: Agent, mocker: MockerFixture) -> None:
    plant(agent.root, STACK)
    path = agent.root / "s/.env"
    real = Processes.run

    def meddle(self: Processes, argv: list[str], **options: Any) -> Any:
        done = real(self, argv, **options)
        if "config" in argv and done.rc != 0:
            path.write_text("PORT=theirs\n")
        return done

    mocker.patch.object(Processes, "run", meddle)
    outcome = update(agent, "s/.env", set={"PORT": "not-a-port"})
    assert outcome.error is not None
    assert outcome.error.code == "changed_meanwhile"
    assert path.read_text() == "PORT=theirs\n"


def test_without_docker_it_works_with_a_warning(agent: Agent, mocker: MockerFixture) -> None:
    mocker.patch.object(Processes, "which", return_value=None)  # the machine has one
    plant(agent.root, STACK)
    outcome = update(agent, "s/.env", set={"PORT": "not-a-port"})
    data = succeeded(outcome)
    assert outcome.changed
    assert data["affected_services"] == ["job", "web"]
    assert data["needs_recreate"] is None
    assert any("docker is not installed" in warning for warning in outcome.warnings)
    assert any("no docker engine answers" in warning for warning in outcome.warnings)


def test_without_an_engine_it_works_with_a_warning(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    plant(agent.root, STACK)
    outcome = update(agent, "s/app.env", set={"A": "2"})
    data = succeeded(outcome)
    assert data["stacks"][0]["valid"] is True
    assert data["affected_services"] == ["web"]
    assert data["needs_recreate"] is None
    assert len(outcome.warnings) == 1


def test_a_file_of_no_stack_asks_nobody(agent: Agent) -> None:
    outcome = update(agent, set={"A": "1"}, create=True)
    data = succeeded(outcome)
    assert (data["affected_services"], data["needs_recreate"], data["stacks"]) == ([], [], [])
    assert outcome.warnings == []


def test_raw_readers_are_warned_of(agent: Agent) -> None:
    entry = "{path: app.env, format: raw}"
    plant(agent.root, {"compose.yaml": f"services: {{web: {{image: x, env_file: [{entry}]}}}}\n", "app.env": ""})
    outcome = update(agent, set={"A": "x y"})
    assert any("format raw" in warning and "web" in warning for warning in outcome.warnings)


@pytest.fixture
def running_stack(agent: Agent) -> Iterator[Path]:
    directory = plant(agent.root, STACK) / "s"
    compose = ["docker", "compose", "--project-directory", str(directory)]
    subprocess.run([*compose, "up", "-d", "web", "db"], check=True, capture_output=True, cwd=directory)
    yield directory
    subprocess.run([*compose, "down", "-t", "0"], check=True, capture_output=True, cwd=directory)


def test_running_services_with_older_values_need_to_be_recreated(agent: Agent, running_stack: Path) -> None:
    time.sleep(1.1)  # the engine tells when a container was made in whole seconds
    first = succeeded(update(agent, "s/.env", set={"PORT": "18474"}))
    assert first["affected_services"] == ["job", "web"]
    assert first["needs_recreate"] == ["web"]  # job does not run
    again = update(agent, "s/.env", set={"PORT": "18474"})
    assert not again.changed
    assert succeeded(again)["needs_recreate"] == ["web"]
    up = ["docker", "compose", "--project-directory", str(running_stack), "up", "-d", "web"]
    subprocess.run(up, check=True, capture_output=True, cwd=running_stack)
    assert succeeded(update(agent, "s/.env", set={"PORT": "18474"}))["needs_recreate"] == []


def test_two_edits_at_once_are_both_there(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=0\n")
    outcomes: list[subprocess.CompletedProcess[bytes]] = []

    def edit(key: str) -> None:
        words = ("env-update", "--path", str(agent.root / "app.env"), "--set", f"{key}=1", "--lock-wait", "60")
        outcomes.append(agent.cli(*words))

    threads = [threading.Thread(target=edit, args=(f"K{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in outcomes] == [0] * 4, outcomes
    assert sorted((agent.root / "app.env").read_text().split()) == ["A=0", "K0=1", "K1=1", "K2=1", "K3=1"]
