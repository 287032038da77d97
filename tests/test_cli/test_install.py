from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from letsbe.agent.config import Config, parse
from letsbe.agent.config_template import render
from letsbe.agent.convergence import Convergence
from letsbe.agent.durable import write_private
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.removal import STATE_DIRECTORIES, STATE_FILES
from letsbe.agent.schedule import cron_file
from tests.agents import Agent, program, tree
from tests.faults.rollbacks import killed
from tests.machine import Machine, machine
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect

CONFIG = "etc/letsbe/letsbe.yml"
CRON = "etc/cron.d/letsbe"
SERVICE = "etc/systemd/system/letsbe.service"
TIMER = "etc/systemd/system/letsbe.timer"
ENABLED = "etc/systemd/system/timers.target.wants/letsbe.timer"
TOKEN = "etc/letsbe/enrolment-token"
DIRECTORIES = {
    "etc/letsbe": 0o755,
    "var/lib/letsbe": 0o700,
    "var/lib/letsbe/tmp": 0o700,
    "var/log/letsbe": 0o750,
    "opt/letsbe": 0o755,
}


class Image:
    """A root directory to install into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __truediv__(self, path: str) -> Path:
        return self.root / path

    def cli(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [*program(), *words, "--root", str(self.root)]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)

    def install(self, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        return self.decoded("install", *words, stdin=stdin)

    def decoded(self, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        done = self.cli(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "image" / "etc").mkdir(parents=True)
    (tmp_path / "image/etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "image/etc/group").write_text("root:x:0:\ndocker:x:990:\n")
    return Image(tmp_path / "image")


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """A real CA certificate, from the system's store."""
    context = ssl.create_default_context()
    path = tmp_path / "ca.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(context.get_ca_certs(binary_form=True)[0]))
    return path


def paths(installed: dict[str, Any], action: str) -> list[str]:
    return [done["path"] for done in installed["actions"] if done["action"] == action]


def test_everything_is_there_after_install(image: Image) -> None:
    installed = image.install("--cron")
    assert installed["changed"]
    assert (installed["user"], installed["schedule"]) == ("root", "cron")
    for directory, mode in DIRECTORIES.items():
        assert (image / directory).stat().st_mode & 0o7777 == mode, directory
    assert (image / CONFIG).stat().st_mode & 0o777 == 0o644
    assert (image / CRON).stat().st_mode & 0o777 == 0o644
    assert "poll --splay" in (image / CRON).read_text().splitlines()[-1]


def test_second_install_changes_nothing(image: Image) -> None:
    image.install()
    before = tree(image.root)
    again = image.install()
    assert not again["changed"]
    assert again["actions"] == []
    assert tree(image.root) == before


def test_check_tells_what_install_does_and_changes_nothing(image: Image) -> None:
    before = tree(image.root)
    foreseen = image.install("--check", "--systemd")
    assert tree(image.root) == before
    assert foreseen["check"]
    done = image.install("--systemd")
    assert done["actions"] == foreseen["actions"]
    assert not image.install("--check")["changed"]


def test_drift_is_put_right_and_named(image: Image) -> None:
    image.install()
    (image / "var/lib/letsbe").chmod(0o755)
    (image / CRON).write_text("* * * * * root true\n")
    again = image.install()
    assert {done["path"]: done["why"] for done in again["actions"]} == {
        "/var/lib/letsbe": "mode 0755, not 0700",
        "/etc/cron.d/letsbe": "other content",
    }
    assert not image.install()["changed"]


def test_configuration_is_never_rewritten(image: Image) -> None:
    (image / "etc/letsbe").mkdir()
    (image / CONFIG).write_text("poll: {splay_s: 3}\n")
    image.install()
    assert (image / CONFIG).read_text() == "poll: {splay_s: 3}\n"


@pytest.mark.parametrize(
    ("user", "mode", "becomes"),
    [
        pytest.param("root", 0o600, 0o600, id="narrower"),
        pytest.param("root", 0o666, 0o644, id="writable-by-others"),
        pytest.param("letsbe", 0o600, 0o644, id="closed-to-the-agent"),
    ],
)
def test_configuration_keeps_its_mode_where_that_is_safe(user: str, mode: int, becomes: int, image: Image) -> None:
    image.install()
    inode = (image / CONFIG).stat().st_ino
    (image / CONFIG).chmod(mode)
    image.install("--user", user)
    assert (image / CONFIG).stat().st_mode & 0o777 == becomes
    assert (image / CONFIG).stat().st_ino == inode


def test_a_root_is_as_it_shall_be_as_soon_as_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill the next install would leave it alone."""
    mkdir, modes = os.mkdir, []

    def watched(path: str, mode: int, *, dir_fd: int | None = None) -> None:
        mkdir(path, mode, dir_fd=dir_fd)
        modes.append(os.stat(path).st_mode & 0o7777)

    monkeypatch.setattr(os, "mkdir", watched)
    before = os.umask(0o077)
    try:
        Convergence(str(tmp_path)).directory("/srv/stacks", 0o755, None, enforce=False)
    finally:
        os.umask(before)
    assert modes == [0o755, 0o755]


def test_directories_are_those_of_the_configuration(image: Image) -> None:
    (image / "etc/letsbe").mkdir()
    (image / CONFIG).write_text("state_dir: /srv/agent\nroots: [/srv/stacks]\nlog: {file: /srv/logs/agent.log}\n")
    image.install()
    assert (image / "srv/agent").stat().st_mode & 0o777 == 0o700
    assert (image / "srv/stacks").is_dir()
    assert (image / "srv/logs").is_dir()
    assert not (image / "var/lib/letsbe").exists()
    assert "TMPDIR=/srv/agent/tmp\n" in (image / CRON).read_text()


def test_a_directory_that_the_administrator_chose_keeps_its_mode(image: Image) -> None:
    (image / "etc/letsbe").mkdir()
    (image / "srv").mkdir()
    (image / "srv").chmod(0o755)
    (image / CONFIG).write_text("log: {file: /srv/letsbe.log}\n")
    image.install()
    assert (image / "srv").stat().st_mode & 0o777 == 0o755


def test_existing_roots_are_left_alone(image: Image) -> None:
    (image / "opt/letsbe").mkdir(parents=True)
    (image / "opt/letsbe").chmod(0o2770)
    image.install()
    assert (image / "opt/letsbe").stat().st_mode & 0o7777 == 0o2770


def test_orchestrator_ca_and_token_go_where_the_first_poll_looks(image: Image, ca_file: Path) -> None:
    flags = ["--orchestrator-url", "https://orchestrator.example:8443", "--ca-file", str(ca_file)]
    image.install(*flags, "--enrolment-token-file", "-", stdin=b"  the-token\n")
    config = parse((image / CONFIG).read_bytes(), CONFIG)
    assert config.orchestrator.url == "https://orchestrator.example:8443"
    assert config.orchestrator.ca_file == "/etc/letsbe/ca.pem"
    assert (image / "etc/letsbe/ca.pem").read_bytes() == ca_file.read_bytes()
    assert (image / TOKEN).read_text() == "the-token\n"
    assert (image / TOKEN).stat().st_mode & 0o777 == 0o600
    again = image.cli("install", *flags, "--enrolment-token-file", "-", stdin=b"the-token")
    assert not json.loads(again.stdout)["changed"]
    assert b"the-token" not in again.stdout + again.stderr


def test_an_enrolled_machine_keeps_its_identity(image: Image) -> None:
    image.install()
    identity = {"agent_id": "a", "private_key": "b", "url": "https://o", "agent_token": "c"}
    (image / "var/lib/letsbe/identity.json").write_text(json.dumps(identity))
    installed = image.install("--enrolment-token-file", "-", stdin=b"second-token")
    assert paths(installed, "keep") == ["/etc/letsbe/enrolment-token"]
    assert not installed["changed"]
    assert not (image / TOKEN).exists()


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        pytest.param(["--enrolment-token-file", "-"], b" \n", "enrolment token", id="empty-token"),
        pytest.param(["--enrolment-token-file", "-"], b"two words", "enrolment token", id="token-of-two-words"),
        pytest.param(["--ca-file", "/etc/passwd"], b"", "/etc/passwd holds no CA certificates", id="ca-is-no-pem"),
        pytest.param(["--ca-file", "/nowhere/ca.pem"], b"", "/nowhere/ca.pem: No such file", id="ca-missing"),
        pytest.param(["--orchestrator-url", "http://o.example"], b"", "is not encrypted", id="plain-http"),
        pytest.param(["--orchestrator-url", "https://u:p@o.example"], b"", "user name or password", id="url-password"),
        pytest.param(["--user", "www-data"], b"", "www-data", id="other-user"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(
    words: list[str], stdin: bytes, message: str, image: Image
) -> None:
    before = tree(image.root)
    done = image.cli("install", *words, stdin=stdin)
    assert done.returncode in (1, 2)
    assert message in done.stderr.decode()
    assert b"u:p@" not in done.stderr
    assert tree(image.root) == before


def test_a_configuration_that_says_otherwise_is_refused(image: Image) -> None:
    image.install("--orchestrator-url", "https://one.example")
    before = tree(image.root)
    done = image.cli("install", "--orchestrator-url", "https://two.example")
    assert done.returncode == 1
    assert b"orchestrator.url: https://one.example, not https://two.example" in done.stderr
    assert b"never rewritten" in done.stderr
    assert tree(image.root) == before


def test_a_broken_configuration_is_told_with_its_line(image: Image) -> None:
    (image / "etc/letsbe").mkdir()
    (image / CONFIG).write_text("roots: [/srv]\npol: {}\n")
    done = image.cli("install")
    assert done.returncode == 2
    assert b"line 2: unknown key pol" in done.stderr


def test_cron_and_systemd_take_each_other_away(image: Image) -> None:
    image.install("--cron")
    installed = image.install("--systemd")
    assert "/etc/cron.d/letsbe" in paths(installed, "remove")
    assert (image / ENABLED).is_symlink()
    assert os.readlink(image / ENABLED) == "/etc/systemd/system/letsbe.timer"
    assert "OnCalendar=*:*:00" in (image / TIMER).read_text()
    assert not image.install()["changed"], "without a flag the schedule that is there stays"
    image.install("--cron")
    assert (image / CRON).exists()
    assert not any((image / unit).exists() or (image / unit).is_symlink() for unit in (SERVICE, TIMER, ENABLED))


def test_user_letsbe_is_made_and_put_into_the_docker_group(image: Image) -> None:
    image.install("--user", "letsbe")
    fields = next(line for line in (image / "etc/passwd").read_text().splitlines() if line.startswith("letsbe:"))
    _, _, uid, gid, _, home, shell = fields.split(":")
    assert (home, shell) == ("/var/lib/letsbe", "/usr/sbin/nologin")
    assert re.search(r"^docker:.*:letsbe$", (image / "etc/group").read_text(), re.M)
    for directory in ("var/lib/letsbe", "var/lib/letsbe/tmp", "var/log/letsbe", "opt/letsbe"):
        status = (image / directory).stat()
        assert (status.st_uid, status.st_gid) == (int(uid), int(gid)), directory
    assert (image / CONFIG).stat().st_uid == 0, "the agent can't widen its own policy"
    assert "* * * * * letsbe " in (image / CRON).read_text()
    assert not image.install()["changed"], "without a flag the user that is there stays"


def test_changing_the_user_hands_the_state_over(image: Image) -> None:
    image.install()
    journal = image / "var/lib/letsbe/state.db"
    journal.write_text("")
    secret = image / "etc/secret"
    secret.write_text("")
    (image / "var/lib/letsbe/link").symlink_to(secret)
    os.link(secret, image / "var/lib/letsbe/second-name")
    image.install("--user", "letsbe")
    assert journal.stat().st_uid == (image / "var/lib/letsbe").stat().st_uid != 0
    assert secret.stat().st_uid == 0, "neither a link nor a second name leads out of the state directory"
    image.install("--user", "root")
    assert journal.stat().st_uid == 0


def test_uninstall_keeps_configuration_and_state(image: Image) -> None:
    image.install()
    (image / "var/lib/letsbe/identity.json").write_text("{}")
    (image / "opt/letsbe/app.env").write_text("A=1\n")
    taken = image.decoded("uninstall")
    assert "/etc/cron.d/letsbe" in paths(taken, "remove")
    assert (image / CONFIG).exists()
    assert (image / "var/lib/letsbe/identity.json").exists()
    assert (image / "opt/letsbe/app.env").exists()
    assert not image.decoded("uninstall")["changed"]


@pytest.mark.parametrize(
    ("content", "stays"),
    [pytest.param(b"\x7fELF...", False, id="built"), pytest.param(b"#!/bin/sh\n", True, id="pip's")],
)
def test_uninstall_removes_the_program_that_install_put_there(content: bytes, stays: bool, image: Image) -> None:
    image.install()
    (image / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    (image / "usr/local/bin/letsbe").write_bytes(content)
    assert image.decoded("uninstall", "--check")["changed"]
    taken = image.decoded("uninstall")
    assert (image / "usr/local/bin/letsbe").exists() == stays
    assert ("/usr/local/bin/letsbe" in paths(taken, "remove")) != stays


def test_purge_removes_all_but_the_roots(image: Image) -> None:
    image.install("--systemd", "--enrolment-token-file", "-", stdin=b"token")
    for name in ("state.db", "state.db-wal", "identity.json", "last-poll"):
        (image / "var/lib/letsbe" / name).write_text("")
    (image / "var/lib/letsbe/undo/x").mkdir(parents=True)
    (image / "var/log/letsbe/letsbe.log.1").write_text("")
    (image / "opt/letsbe/app.env").write_text("A=1\n")
    before = tree(image.root)
    foreseen = image.decoded("uninstall", "--purge", "--check")
    assert tree(image.root) == before
    assert image.decoded("uninstall", "--purge")["actions"] == foreseen["actions"]
    left = [path for path in tree(image.root) if "letsbe" in path.removeprefix(str(image.root))]
    assert left == [str(image / "opt/letsbe"), str(image / "opt/letsbe/app.env")]


class Cut(BaseException):
    """The end of a process."""


def kill(*_: object) -> None:
    raise Cut


def test_purge_takes_what_an_agent_that_did_everything_leaves(
    image: Image, shared_orchestrator: Orchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.install()
    agent = Agent(tmp_path)
    state = agent.state_dir = image / "var/lib/letsbe"
    connect(agent, shared_orchestrator)
    assert agent.cli("poll").returncode == 0
    (agent.root / "app.env").write_text("A=1\n")
    write = {"path": f"{agent.root}/app.env", "content": "PASSWORD=Cl3ar-T3xt"}
    steps = [
        {"id": "write", "type": "FILE_WRITE", "payload": write},
        {"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{agent.root}/none", "mode": "head"}},
    ]
    shared_orchestrator.submit("COMPOSITE", {"steps": steps}, agent=agent_id(agent))
    assert agent.cli("poll").returncode == 0
    killed(agent, "open 1 a", "composite", "-", payload={"steps": steps})
    assert "Cl3ar-T3xt" in "".join(path.read_text() for path in (state / "rollback").iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", kill)
        with pytest.raises(Cut):
            write_private(str(state / "identity.json"), b"a private key")
        with pytest.raises(Cut):
            Convergence(str(image.root)).replace(f"/{TOKEN}", b"a token", 0o600, None)
    left = {path.name for path in state.iterdir()}
    assert left > {"state.db", "identity.json", "config-cache.json", "last-poll", *STATE_DIRECTORIES}
    assert paths(image.decoded("uninstall", "--purge"), "keep") == []
    assert not state.exists()
    assert not (image / "etc/letsbe").exists()


def test_what_is_purged_is_what_is_documented() -> None:
    guide = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    table = guide.partition("## The state directory")[2].partition("\n## ")[0]
    documented = {name for row in re.findall(r"^\|(.*?)\|", table, re.M) for name in re.findall(r"`(.+?)`", row)}
    assert documented == {*STATE_FILES, *(f"{name}/" for name in STATE_DIRECTORIES)}


def test_purge_keeps_what_is_not_letsbes(image: Image) -> None:
    image.install()
    for name in ("notes.txt", "notes.1.tmp", "state.db.tmp"):
        (image / "var/lib/letsbe" / name).write_text("mine")
    taken = image.decoded("uninstall", "--purge")
    assert "/var/lib/letsbe" in paths(taken, "keep")
    for name in ("notes.txt", "notes.1.tmp", "state.db.tmp"):
        assert (image / "var/lib/letsbe" / name).read_text() == "mine"


def test_uninstall_waits_for_no_task(image: Image) -> None:
    image.install()
    locks = Locks(str(image / "var/lib/letsbe"))
    with locks.hold({"work"}, holder_now("BACKUP", None)):
        done = image.cli("uninstall")
    assert done.returncode == 5
    assert f"BACKUP, pid {os.getpid()}" in done.stderr.decode()
    assert (image / CRON).exists()


def test_template_parses_to_exactly_the_defaults() -> None:
    assert parse(render().encode(), "letsbe.yml") == Config()


def test_template_explains_every_key() -> None:
    lines = render().splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"\s*[a-z_]+:", line)]
    assert len(keys) > 25
    for number in keys:
        assert lines[number - 1].lstrip().startswith("# "), lines[number]
    document = yaml.safe_load(render())
    assert set(document) == set(Config.__struct_fields__)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("install") / "machine") as copy:
        copy.forget("/etc/letsbe", "/var/lib/letsbe", "/opt/letsbe", "/etc/cron.d/letsbe", "/usr/local/bin/letsbe")
        yield copy


def test_without_root_nothing_is_tried(here: Machine) -> None:
    done = here.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *here.letsbe, "install", check=False)
    assert done.returncode == 1
    assert b"needs root" in done.stderr
    assert b"sudo" in done.stderr
    assert not here.path("/etc/letsbe").exists()


def test_root_works_as_the_user_that_the_agent_was_installed_for(here: Machine) -> None:
    """Or the agent's next poll would find locks and journal closed."""
    here.run(*here.letsbe, "install", "--user", "letsbe")
    report = json.loads(here.run(*here.letsbe, "doctor", check=False).stdout)
    found = {finding["check"]: finding for finding in report["checks"]}
    assert found["state directory"]["status"] == "ok", found
    assert json.loads(here.run(*here.letsbe, "status").stdout)["enrolled"] is False
    here.run(*here.letsbe, "file-write", "-", stdin=b'{"path": "/opt/letsbe/note", "content": "hi"}')
    agent = here.path("/var/lib/letsbe").stat().st_uid
    assert agent != 0
    written = [here.path("/opt/letsbe/note"), *here.path("/var/lib/letsbe").rglob("*")]
    assert "state.db" in {path.name for path in written}
    assert {path.stat().st_uid for path in written} == {agent}
    (run,) = json.loads(here.run(*here.letsbe, "history", "--output", "json").stdout)
    assert run["type"] == "FILE_WRITE"
    here.run(*here.letsbe, "uninstall", "--purge")


def test_default_cron_file_names_the_installed_program() -> None:
    assert cron_file().splitlines()[-1].split()[5:7] == ["root", "/usr/local/bin/letsbe"]
