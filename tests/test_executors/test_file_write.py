"""FILE_WRITE, through the runner."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from letsbe.agent.locks import Holder, Locks
from letsbe.protocol import Outcome
from tests.agents import Agent, tree
from tests.stack_trees import plant


def write(agent: Agent, payload: dict[str, Any], **request: Any) -> Outcome:
    return agent.run("FILE_WRITE", {"path": f"{agent.root}/file", **payload}, **request)


def failed(outcome: Outcome, code: str) -> str:
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.error.hint
    assert not outcome.changed
    return outcome.error.message


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_new_file_and_what_is_told_of_it(agent: Agent) -> None:
    outcome = write(agent, {"content": "grüße\n"})
    assert outcome.success
    assert outcome.changed
    assert outcome.data == {
        "path": f"{agent.root}/file",
        "created": True,
        "bytes": 8,
        "sha256_before": None,
        "sha256_after": digest("grüße\n".encode()),
        "perms": "0644",
        "owner": "root:root",
        "in_place": False,
        "unchanged_because": "",
        "validated": None,
        "made_dirs": [],
        "bind_mounted_in": [],
        "diff": None,
        "diff_truncated": False,
    }
    assert (agent.root / "file").read_text() == "grüße\n"
    again = write(agent, {"content": "grüße\n"})
    assert not again.changed
    assert again.data["unchanged_because"]
    assert again.data["sha256_before"] == again.data["sha256_after"]
    assert again.warnings == []


def test_binary_content(agent: Agent) -> None:
    content = bytes(range(256))
    assert write(agent, {"content_b64": base64.b64encode(content).decode()}).success
    assert (agent.root / "file").read_bytes() == content


def test_empty_content(agent: Agent) -> None:
    assert write(agent, {"content": ""}).changed
    assert (agent.root / "file").read_bytes() == b""


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "$.content"),
        ({"content": "a", "content_b64": "YQ=="}, "$.content"),
        ({"content_b64": "YQ"}, "$.content_b64"),
        ({"content_b64": "Y Q=="}, "$.content_b64"),
        ({"content_b64": "Yé=="}, "$.content_b64"),
        ({"content": "a", "mode": "block"}, "$.block_id"),
        ({"content": "a", "block_id": "x"}, "$.block_id"),
        ({"content": "a", "mode": "block", "block_id": "a b"}, "$.block_id"),
        ({"content": "a", "mode": "block", "block_id": "a\nb"}, "$.block_id"),
        ({"content": "a", "perms": "rw-r--r--"}, "$.perms"),
        ({"content": "a", "perms": "0888"}, "$.perms"),
        ({"content": "a", "perms": "17777"}, "$.perms"),
        ({"content": "a", "owner": "root"}, "$.owner"),
        ({"content": "a", "owner": "root:root:root"}, "$.owner"),
        ({"content": "a", "if_sha256": "abc"}, "$.if_sha256"),
        ({"content": "a", "path": ""}, "$.path"),
        ({"content": "a", "validate": "toml"}, "$.validate"),
    ],
    ids=str,
)
def test_payload_that_makes_no_sense(payload: dict[str, Any], path: str, agent: Agent) -> None:
    outcome = write(agent, payload)
    failed(outcome, "invalid_payload")
    assert outcome.error is not None
    assert outcome.error.details["path"] == path
    assert list(agent.root.iterdir()) == []


def test_content_beyond_the_limit_of_the_host(agent: Agent) -> None:
    agent.configure(limits={"file_bytes": 2000})
    assert write(agent, {"content": "x" * 2000}).success
    assert "2001" in failed(write(agent, {"content": "x" * 2001}), "content_too_large")
    assert "2001" in failed(write(agent, {"content": "ü" * 1000 + "x"}), "content_too_large")
    assert (agent.root / "file").read_text() == "x" * 2000


def test_path_outside_is_refused(agent: Agent) -> None:
    for path in ("/etc/letsbe-test", f"{agent.root}/../escaped", "relative", f"{agent.root}/a\nb"):
        outcome = agent.run("FILE_WRITE", {"path": path, "content": "x"})
        assert outcome.status == "refused"
        failed(outcome, "path_refused")
    assert list(agent.root.iterdir()) == []


def test_append(agent: Agent) -> None:
    for number in range(3):
        outcome = write(agent, {"content": f"line {number}\n", "mode": "append"})
        assert outcome.data["created"] is (number == 0)
    assert (agent.root / "file").read_text() == "line 0\nline 1\nline 2\n"
    now = digest(b"line 0\nline 1\nline 2\n")
    guarded = {"content": "once\n", "mode": "append", "if_sha256": now}
    assert write(agent, guarded).changed
    assert digest(b"line 0\nline 1\nline 2\nonce\n") in failed(write(agent, guarded), "precondition_failed")
    assert (agent.root / "file").read_text().count("once") == 1


def test_create_only(agent: Agent) -> None:
    assert write(agent, {"content": "default\n", "mode": "create_only"}).changed
    (agent.root / "file").write_text("edited by hand\n")
    outcome = write(agent, {"content": "default\n", "mode": "create_only", "perms": "0600"})
    assert outcome.success
    assert not outcome.changed
    assert "create_only" in outcome.data["unchanged_because"]
    assert (agent.root / "file").read_text() == "edited by hand\n"


def test_block_is_added_replaced_in_its_place_and_removed(agent: Agent) -> None:
    path = agent.root / "file"
    path.write_bytes(b"first\nlast without newline")
    block = {"mode": "block", "block_id": "proxy"}
    assert write(agent, {"content": "a 1", **block}).changed
    head = b"first\nlast without newline\n"
    assert path.read_bytes() == head + b"# BEGIN letsbe proxy\na 1\n# END letsbe proxy\n"
    inode = path.stat().st_ino
    assert not write(agent, {"content": "a 1\n", **block}).changed
    assert path.stat().st_ino == inode
    path.write_bytes(path.read_bytes() + b"after\n")
    assert write(agent, {"content": "a 1\nb 2\n", **block}).changed
    assert path.read_bytes() == head + b"# BEGIN letsbe proxy\na 1\nb 2\n# END letsbe proxy\nafter\n"
    assert write(agent, {"content": "other\n", "mode": "block", "block_id": "proxy2"}).changed
    assert write(agent, {"content": "", **block}).changed
    assert path.read_bytes() == head + b"after\n# BEGIN letsbe proxy2\nother\n# END letsbe proxy2\n"
    assert not write(agent, {"content": "", **block}).changed


@pytest.mark.parametrize(
    "content",
    [b"# BEGIN letsbe x\n", b"# END letsbe x\n", b"# END letsbe x\n# BEGIN letsbe x\n", b"# BEGIN letsbe x\n" * 2],
    ids=["no end", "no begin", "wrong order", "twice"],
)
def test_block_with_broken_markers_is_left_alone(content: bytes, agent: Agent) -> None:
    (agent.root / "file").write_bytes(content)
    failed(write(agent, {"content": "a", "mode": "block", "block_id": "x"}), "block_broken")
    assert (agent.root / "file").read_bytes() == content


def test_block_keeps_line_ends_and_comment_style_of_the_file(agent: Agent) -> None:
    (agent.root / "page.html").write_bytes(b"<p>\r\n")
    payload = {"path": f"{agent.root}/page.html", "content": "a\nb\n", "mode": "block", "block_id": "x"}
    assert agent.run("FILE_WRITE", payload).changed
    expected = b"<p>\r\n<!-- BEGIN letsbe x -->\r\na\r\nb\r\n<!-- END letsbe x -->\r\n"
    assert (agent.root / "page.html").read_bytes() == expected
    assert not agent.run("FILE_WRITE", payload).changed


def test_block_content_cannot_hold_its_own_marker(agent: Agent) -> None:
    outcome = write(agent, {"content": "# END letsbe x\n", "mode": "block", "block_id": "x"})
    failed(outcome, "invalid_payload")


def test_perms_and_owner(agent: Agent) -> None:
    path = agent.root / "file"
    assert write(agent, {"content": "x", "perms": "0640", "owner": "daemon:4321"}).success
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 1, 4321)
    assert write(agent, {"content": "y"}).data["owner"] == "daemon:4321"
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 1, 4321)
    inode = found.st_ino
    changed = write(agent, {"content": "y", "perms": "600"})
    assert changed.changed
    assert changed.data["perms"] == "0600"
    assert path.stat().st_ino == inode
    assert "no user 'nobody-of-this-name'" in failed(
        write(agent, {"content": "z", "owner": "nobody-of-this-name:root"}), "unknown_owner"
    )
    assert path.read_text() == "y"


def test_if_sha256(agent: Agent) -> None:
    path = agent.root / "file"
    assert write(agent, {"content": "1", "if_sha256": "absent"}).changed
    assert "not absent" in failed(write(agent, {"content": "2", "if_sha256": "absent"}), "precondition_failed")
    assert write(agent, {"content": "2", "if_sha256": digest(b"1")}).changed
    failed(write(agent, {"content": "3", "if_sha256": digest(b"1")}), "precondition_failed")
    assert path.read_text() == "2"


def test_missing_directories(agent: Agent) -> None:
    payload = {"path": f"{agent.root}/a/b/file", "content": "x"}
    assert "make_dirs" in (agent.run("FILE_WRITE", payload).error or Outcome).hint  # type: ignore[union-attr]
    outcome = agent.run("FILE_WRITE", {**payload, "make_dirs": True})
    assert outcome.data["made_dirs"] == [f"{agent.root}/a", f"{agent.root}/a/b"]
    assert stat.S_IMODE((agent.root / "a" / "b").stat().st_mode) == 0o755
    assert not agent.run("FILE_WRITE", {**payload, "make_dirs": True}).changed


def test_nothing_is_made_for_content_that_is_invalid(agent: Agent) -> None:
    payload = {"path": f"{agent.root}/a/file", "content": "{", "make_dirs": True, "validate": "json"}
    failed(agent.run("FILE_WRITE", payload), "validation_failed")
    assert list(agent.root.iterdir()) == []


@pytest.mark.parametrize(
    ("validate", "good", "bad", "says"),
    [
        ("json", '{"a": [1, 2.5, null]}', '{"a": 1,}', "line 1, column 9"),
        ("json", "[]", "", "line 1, column 1"),
        ("json", "[]", "[NaN]", "NaN"),
        ("json", "[]", "[" * 100_000, "nested too deeply"),
        ("yaml", "a: 1\nb: &x [1]\nc: *x\n---\nd: !custom 1\n", "a: 1\n  b: 2\n", "line 2, column 4"),
        ("yaml", "a: 1", "a: 1\nb: 2\na: 3\n", "line 3, column 1: the key stands twice"),
        ("yaml", "a: 1", "a: *nowhere", "line 1, column 4"),
        ("yaml", "a: 1", "a: '\x07'", "characters"),
        ("compose", "services: {web: {image: x}}", "services: {web: {imag: x}}", "imag"),
        ("compose", "services: {web: {image: x, ports: ['80:80']}}", "services: [", "line 2, column 1"),
        ("compose", "services: {web: {image: x}}", "", "empty"),
        ("nginx", "server { listen 8080; }", "server { listen; }", "{root}/file:1"),
        ("nginx", "events {}\nhttp { server { listen 8080; } }\n", "events {}\nhttp {\n  sever {}\n}\n", "file:3"),
        ("nginx", "# a snippet\nserver {\n  listen 8080;\n}\n", "server {\n\n  no_such_directive on;\n}\n", "file:3"),
    ],
)
def test_failing_validation_leaves_file_and_inode(validate: str, good: str, bad: str, says: str, agent: Agent) -> None:
    path = agent.root / "file"
    outcome = write(agent, {"content": good, "validate": validate})
    assert outcome.error is None
    assert outcome.data["validated"] == validate
    before = tree(agent.root)
    message = failed(write(agent, {"content": bad, "validate": validate}), "validation_failed")
    assert says.replace("{root}", str(agent.root)) in message
    assert "letsbe-" not in message.replace(str(agent.base), "")
    assert tree(agent.root) == before
    assert path.read_text() == good


def test_validation_names_no_secret(agent: Agent) -> None:
    secret = "conformance-S3cret-value"
    for validate, content in (
        ("json", f'{{"password": "{secret}",}}'),
        ("yaml", f"password: {secret}: x\n"),
        ("yaml", f"password: *{secret}\n"),
        ("compose", f"services:\n  web:\n    image: x\n    environment: {{DB_PASSWORD: [{secret}]}}\n"),
        ("compose", f"services:\n  web:\n    image: x\n    environment: {{DB_PASSWORD: '${{{secret}'}}\n"),
        ("nginx", f"proxy_set_header; # {secret}\nset $api_token {secret}; {secret};\n"),
    ):
        outcome = write(agent, {"content": content, "validate": validate})
        failed(outcome, "validation_failed")
        assert secret not in repr(outcome)


def test_validation_names_no_secret_of_the_file_beside(agent: Agent) -> None:
    secret = "conformance-S3cret-value"
    base = f"services:\n  web:\n    image: x\n    environment: {{DB_PASSWORD: '${{{secret}'}}\n"
    (agent.root / "compose.yaml").write_text(base)
    outcome = write(agent, {"path": f"{agent.root}/compose.override.yml", "content": OVERRIDE, "validate": "compose"})
    assert "DB_PASSWORD" in failed(outcome, "validation_failed")
    assert secret not in repr(outcome)


def test_compose_file_is_judged_where_it_will_stand(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    (agent.root / ".env").write_text("IMAGE=nginx\n")
    content = "services: {web: {image: '${IMAGE:?}', env_file: [app.env]}}\n"
    assert write(agent, {"content": content, "validate": "compose"}).error is None
    (agent.root / "app.env").unlink()
    failed(write(agent, {"content": content + "# more\n", "validate": "compose"}), "validation_failed")


BASE = "services: {web: {image: x}}\n"
OVERRIDE = "services: {web: {ports: ['127.0.0.1:8080:80']}}\n"
UNDONE = "services: {db: {ports: ['127.0.0.1:8080:80']}}\n"


@pytest.mark.parametrize(
    ("there", "name", "content", "with_it"),
    [
        ({"compose.yaml": BASE}, "compose.override.yml", OVERRIDE, None),
        ({"docker-compose.yml": BASE}, "docker-compose.override.yaml", OVERRIDE, None),
        ({"compose.yaml": BASE}, "compose.override.yml", UNDONE, "compose.yaml"),
        ({"compose.override.yml": BASE}, "compose.yaml", OVERRIDE, None),
        ({"compose.override.yml": UNDONE}, "compose.yaml", BASE, "compose.override.yml"),
        ({"compose.yaml": BASE, "compose.override.yml": UNDONE}, "docker-compose.yml", BASE, None),
        ({".env": "COMPOSE_FILE=one.yml:two.yml\n", "one.yml": BASE}, "two.yml", OVERRIDE, None),
        ({".env": "COMPOSE_FILE=one.yml:two.yml\n", "one.yml": BASE}, "two.yml", UNDONE, "one.yml"),
        ({}, "compose.override.yml", BASE, None),
        ({}, "compose.override.yml", OVERRIDE, "write compose.yaml first"),
        ({}, "compose.yaml", OVERRIDE, "Correct the content"),
    ],
)
def test_compose_files_are_judged_as_compose_takes_them(
    there: dict[str, str], name: str, content: str, with_it: str | None, agent: Agent
) -> None:
    plant(agent.root, there)
    before = tree(agent.root)
    outcome = agent.run("FILE_WRITE", {"path": f"{agent.root}/{name}", "content": content, "validate": "compose"})
    if with_it is None:
        assert outcome.error is None, outcome.error
        assert outcome.data["validated"] == "compose"
        assert (agent.root / name).read_text() == content
    else:
        failed(outcome, "validation_failed")
        assert outcome.error is not None
        assert with_it in outcome.error.hint
        assert tree(agent.root) == before


def test_nginx_is_not_asked_in_check_mode_and_that_is_told(agent: Agent) -> None:
    outcome = write(agent, {"content": "server { listen 80; }", "validate": "nginx"}, check=True)
    assert outcome.success
    assert outcome.data["validated"] is None
    assert any("not checked by nginx" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("validate", ["compose", "nginx"])
def test_missing_validator_is_told_and_nothing_written(validate: str, agent: Agent, mocker: MockerFixture) -> None:
    mocker.patch("letsbe.host.processes.Processes.which", return_value=None)
    message = failed(write(agent, {"content": "services: {}", "validate": validate}), "validator_missing")
    assert "nothing was written" in message
    assert list(agent.root.iterdir()) == []


def test_check_mode_tells_and_changes_nothing(agent: Agent) -> None:
    (agent.root / "file").write_text("one\ntwo\n")
    before = tree(agent.root)
    outcome = write(agent, {"content": "one\n2\n", "perms": "0600"}, check=True, diff=True)
    assert outcome.changed
    assert outcome.check
    assert outcome.data["diff"].endswith("@@ -1,2 +1,2 @@\n one\n-two\n+2\n")
    assert outcome.data["perms"] == "0600"
    assert outcome.data["bytes"] == 6
    assert tree(agent.root) == before
    made = agent.run("FILE_WRITE", {"path": f"{agent.root}/x/y", "content": "", "make_dirs": True}, check=True)
    assert made.data["made_dirs"] == [f"{agent.root}/x"]
    assert tree(agent.root) == before


def test_secrets_stand_neither_in_diff_nor_in_journal(agent: Agent) -> None:
    old, new = "old-hunter-22", "new-hunter-33"
    env = {"path": f"{agent.root}/.env"}
    content = f"DB_PASSWORD={old}\nURL=postgres://app:{old}@db/app\nCOPY={old}\n"
    assert write(agent, {**env, "content": content}, diff=True).success
    outcome = write(agent, {**env, "content": content.replace(old, new)}, diff=True)
    assert outcome.data["diff"].count("[redacted]") == 6
    stored = b"".join(path.read_bytes() for path in agent.state_dir.glob("state.db*"))
    stored += agent.log_file.read_bytes() if agent.log_file.exists() else b""
    for secret in (old, new):
        assert secret not in repr(outcome)
        assert secret.encode() not in stored
    assert digest(content.encode()).encode() in stored


def test_undo_puts_content_mode_and_owner_back(agent: Agent) -> None:
    path = agent.root / "file"
    path.write_text("old")
    os.chown(path, 12, 34)
    path.chmod(0o640)
    outcome = write(agent, {"content": "new", "perms": "0600", "owner": "0:0"})
    assert agent.json("undo", str(outcome.task_id), "--output", "json")["success"]
    found = path.stat()
    assert path.read_text() == "old"
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, 12, 34)


def test_rollback_removes_made_directories_unless_something_else_is_in_them(agent: Agent) -> None:
    made = {"path": f"{agent.root}/a/b/file", "content": "x", "make_dirs": True}
    other = {"path": f"{agent.root}/a/other", "content": "y"}
    fails = {"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{agent.root}/none", "mode": "head"}}
    write_made = {"id": "made", "type": "FILE_WRITE", "payload": made}
    outcome = agent.run("COMPOSITE", {"steps": [write_made, fails]})
    assert outcome.data["rolled_back"]
    assert list(agent.root.iterdir()) == []
    assert agent.run("FILE_WRITE", {**other, "make_dirs": True}).success
    outcome = agent.run("COMPOSITE", {"steps": [write_made, fails]})
    assert outcome.data["rolled_back"]
    assert [path.name for path in agent.root.rglob("*")] == ["a", "other"]


@pytest.fixture
def container(agent: Agent, engine: str) -> Iterator[str]:
    """A container that has ``root/file`` mounted, and its directory in another place."""
    path = agent.root / "file"
    path.write_text("old\n")
    volumes = ["-v", f"{path}:/mounted", "-v", f"{agent.root}:/directory"]
    argv = ["docker", "run", "--detach", "--rm", *volumes, engine, "sleep", "300"]
    identifier = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    name = subprocess.run(
        ["docker", "inspect", "--format", "{{.Name}}", identifier], capture_output=True, text=True, check=True
    ).stdout.strip()
    yield name.removeprefix("/")
    subprocess.run(["docker", "rm", "--force", identifier], capture_output=True, check=True)


def seen_in(container: str) -> str:
    argv = ["docker", "exec", container, "cat", "/mounted"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_bind_mount_of_the_file_is_found(container: str, agent: Agent) -> None:
    outcome = write(agent, {"content": "new\n"})
    assert outcome.data["bind_mounted_in"] == [{"container": container, "needs_restart": True}]
    assert outcome.warnings == []
    assert seen_in(container) == "old\n"
    other = agent.run("FILE_WRITE", {"path": f"{agent.root}/other", "content": "1"})
    assert agent.run("FILE_WRITE", {"path": f"{agent.root}/other", "content": "2"}).data["bind_mounted_in"] == []
    assert other.data["bind_mounted_in"] == []


def test_bind_mounted_file_is_written_in_place_when_asked(container: str, agent: Agent) -> None:
    inode = (agent.root / "file").stat().st_ino
    payload = {"content": "new\n", "in_place": "on_bind"}
    foreseen = write(agent, payload, check=True)
    outcome = write(agent, payload)
    for found in (foreseen, outcome):
        assert found.data["bind_mounted_in"] == [{"container": container, "needs_restart": False}]
        assert found.data["in_place"]
    assert seen_in(container) == "new\n"
    assert (agent.root / "file").stat().st_ino == inode
    assert agent.json("undo", str(outcome.task_id), "--output", "json")["success"]
    assert (agent.root / "file").read_text() == "old\n"


def test_file_that_nothing_mounts_is_not_written_in_place(engine: str, agent: Agent) -> None:
    (agent.root / "file").write_text("old")
    outcome = write(agent, {"content": "new", "in_place": "on_bind"})
    assert not outcome.data["in_place"]
    assert outcome.warnings == []


def test_no_docker_is_a_warning_where_it_matters(agent: Agent, mocker: MockerFixture) -> None:
    mocker.patch("letsbe.host.processes.Processes.which", return_value=None)
    assert write(agent, {"content": "new file"}).warnings == []
    outcome = write(agent, {"content": "changed"})
    assert outcome.success
    assert outcome.warnings == ["bind mounts not looked at: there is no docker here"]


def test_engine_that_does_not_answer_is_a_warning(agent: Agent, mocker: MockerFixture) -> None:
    mocker.patch(
        "letsbe.tools.bind_mounts.running_argv",
        side_effect=lambda docker: [docker, "--host", f"unix://{agent.base}/no.sock", "ps", "--quiet"],
    )
    (agent.root / "file").write_text("old")
    outcome = write(agent, {"content": "new", "in_place": "on_bind"})
    assert outcome.success
    assert outcome.warnings == ["bind mounts not looked at: the docker engine does not answer"]
    assert outcome.duration_ms < 5_000


def test_every_way_of_spelling_a_path_takes_the_same_lock(agent: Agent) -> None:
    (agent.root / "real").mkdir()
    (agent.root / "link").symlink_to("real")
    holder = Holder(pid=1, type="FILE_WRITE")
    with Locks(str(agent.state_dir)).hold({f"file:{agent.root}/real/file"}, holder):
        for spelling in ("real/file", "link/file", "real//./file"):
            failed(agent.run("FILE_WRITE", {"path": f"{agent.root}/{spelling}", "content": ""}), "busy")
        assert agent.run("FILE_WRITE", {"path": f"{agent.root}/real/other", "content": ""}).success


def test_on_the_command_line(agent: Agent) -> None:
    done = agent.cli("file-write", "--path", f"{agent.root}/file", "--content", "hi", "--perms", "0600")
    assert done.returncode == 0, done.stderr.decode()
    assert (agent.root / "file").read_text() == "hi"
    refused = agent.cli("file-write", "--path", "/etc/hosts", "--content", "hi")
    assert refused.returncode == 4


def test_parts_make_one_large_file(agent: Agent) -> None:
    part = os.urandom(3 * 1024 * 1024)
    path: Path = agent.root / "file"
    for _ in range(3):
        assert write(agent, {"content_b64": base64.b64encode(part).decode(), "mode": "append"}).success
    assert path.read_bytes() == part * 3
