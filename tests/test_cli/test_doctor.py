from __future__ import annotations

import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from letsbe.agent import checkup
from letsbe.agent.checkup.finding import ok
from letsbe.agent.locks import Holder, Locks
from letsbe.protocol import instant
from tests import bad_engines
from tests.agents import Agent, program, tree
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect, enrolled

__all__ = ["enrolled"]

SECRET = "enrolment-S3cret-value"


def report(agent: Agent, **environment: str) -> dict[str, dict[str, str]]:
    """What doctor says, by check; the worst finding where there are several."""
    done = agent.cli("doctor", env=environment)
    document = json.loads(done.stdout)
    severity = ["ok", "warn", "fail"]
    found: dict[str, dict[str, str]] = {}
    for finding in document["checks"]:
        before = found.get(finding["check"])
        if before is None or severity.index(finding["status"]) > severity.index(before["status"]):
            found[finding["check"]] = finding
    worst = max((finding["status"] for finding in document["checks"]), key=severity.index)
    assert document["status"] == worst
    assert done.returncode == (1 if worst == "fail" else 0)
    for finding in document["checks"]:
        assert bool(finding["hint"]) == (finding["status"] != "ok"), finding
    return found


def test_all_is_well_for_an_agent_that_polls(polling: Agent) -> None:
    found = report(polling)
    well = ["configuration", "binary", "state directory", "disk", "journal", "roots", "TMPDIR", "openat2"]
    for check in [*well, "orchestrator", "certificate", "protocol", "clock", "identity", "locks", "last poll"]:
        assert found[check]["status"] == "ok", found[check]
    assert "knows this agent" in found["protocol"]["observed"]
    assert "days left" in found["certificate"]["observed"]


def test_doctor_leaves_everything_as_it_was(polling: Agent) -> None:
    report(polling)
    before = tree(polling.state_dir, polling.root)
    report(polling)
    assert tree(polling.state_dir, polling.root) == before


def test_a_broken_configuration_is_told_with_its_line_beside_what_needs_none(agent: Agent) -> None:
    agent.config_file.write_text("roots: [/srv]\npol: {}\n")
    found = report(agent)
    assert found["configuration"]["status"] == "fail"
    assert "line 2: unknown key pol" in found["configuration"]["observed"]
    assert "TMPDIR" in found
    assert "identity" not in found


def damage_journal(agent: Agent) -> None:
    agent.cli("poll")  # folds the log of writes into the file
    with (agent.state_dir / "state.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def stand_aside(agent: Agent) -> None:
    os.chown(agent.state_dir / "identity.json", 0, 0)
    os.chown(agent.state_dir / "state.db", 65534, 65534)


def silence(agent: Agent) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(agent.state_dir / "last-poll", (an_hour_ago, an_hour_ago))


def forget_identity(agent: Agent) -> None:
    (agent.state_dir / "identity.json").unlink()


def expose_token(agent: Agent) -> None:
    forget_identity(agent)
    token = agent.base / "enrolment-token"
    token.write_text(SECRET)
    token.chmod(0o644)


def move(agent: Agent) -> None:
    section = json.loads(json.dumps({"url": "https://127.0.0.1:1", "ca_file": agent.config.orchestrator.ca_file}))
    agent.configure(orchestrator=section)


DAMAGES: list[tuple[str, Callable[[Agent], object], str, str, str]] = [
    ("state-open", lambda a: a.state_dir.chmod(0o755), "state directory", "fail", "open to others (mode 0755)"),
    ("state-of-two", stand_aside, "state directory", "warn", "belong to another user"),
    ("journal-damaged", damage_journal, "journal", "fail", "state.db"),
    ("identity-open", lambda a: (a.state_dir / "identity.json").chmod(0o644), "identity", "fail", "read by others"),
    ("identity-gone", forget_identity, "identity", "fail", "is not there"),
    (
        "identity-garbage",
        lambda a: (a.state_dir / "identity.json").write_text("{"),
        "identity",
        "fail",
        "identity.json",
    ),
    ("identity-elsewhere", move, "identity", "warn", "while orchestrator.url is https://127.0.0.1:1"),
    ("nobody-there", move, "orchestrator", "fail", "Connection refused"),
    ("token-open", expose_token, "identity", "fail", "read by others"),
    ("silent", silence, "last poll", "warn", ", 360"),
    ("root-gone", lambda a: a.root.rmdir(), "roots", "warn", "is not there"),
]


@pytest.mark.parametrize(
    ("damage", "check", "status", "observed"), [pytest.param(*row[1:], id=row[0]) for row in DAMAGES]
)
def test_damage_is_found(
    damage: Callable[[Agent], object], check: str, status: str, observed: str, polling: Agent
) -> None:
    damage(polling)
    found = report(polling)[check]
    assert found["status"] == status, found
    assert observed in found["observed"]


def test_failures_since_the_last_answer_are_told(orchestrator: Orchestrator, enrolled: Agent) -> None:
    silence(enrolled)
    orchestrator.stop()
    assert enrolled.cli("poll").returncode == 1
    found = report(enrolled)
    assert "failed 1 times since" in found["last poll"]["observed"]
    assert found["orchestrator"]["status"] == "fail"


def test_an_agent_that_the_orchestrator_forgot(polling: Agent) -> None:
    path = polling.state_dir / "identity.json"
    identity = json.loads(path.read_text())
    path.write_text(json.dumps({**identity, "agent_token": SECRET}))
    done = polling.cli("doctor")
    assert SECRET.encode() not in done.stdout + done.stderr
    found = report(polling)
    assert found["protocol"]["status"] == "fail"
    assert "does not take this agent's token" in found["protocol"]["observed"]


def test_a_lock_that_is_held_too_long_names_its_holder(polling: Agent) -> None:
    holder = Holder(pid=os.getpid(), type="poll", since=instant(time.time() - 900))
    with Locks(str(polling.state_dir)).hold({"poll"}, holder):
        found = report(polling)["locks"]
    assert found["status"] == "warn"
    assert f"pid {os.getpid()}" in found["observed"]


def test_another_ca_is_not_trusted(shared_orchestrator: Orchestrator, agent: Agent, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "127.0.0.1", days=30)
    connect(agent, shared_orchestrator, ca_file=str(other))
    found = report(agent)["certificate"]
    assert found["status"] == "fail"
    assert "not trusted for 127.0.0.1" in found["observed"]
    assert "ca_file" in found["hint"]


@pytest.mark.parametrize(
    ("name", "days", "answer", "check", "status", "observed"),
    [
        pytest.param("elsewhere.example", 30, b"", "certificate", "fail", "not trusted for 127.0.0.1", id="other-name"),
        pytest.param("127.0.0.1", -1, b"", "certificate", "fail", "expired", id="expired"),
        pytest.param("127.0.0.1", 3, b"", "certificate", "warn", "3 days left", id="expires-soon"),
        pytest.param("127.0.0.1", 30, b"", "protocol", "fail", "does not answer", id="hangs-up"),
        pytest.param("127.0.0.1", 30, b"SSH-2.0\r\n", "protocol", "fail", "does not answer", id="not-http"),
        pytest.param(
            "127.0.0.1",
            30,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
            "protocol",
            "fail",
            "text/html",
            id="a-web-site",
        ),
        pytest.param(
            "127.0.0.1",
            30,
            b"HTTP/1.1 426 Upgrade\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}",
            "protocol",
            "fail",
            "newer agent",
            id="upgrade-needed",
        ),
        pytest.param(
            "127.0.0.1",
            30,
            b"HTTP/1.1 401 No\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Type: application/problem+json\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            "clock",
            "warn",
            "ahead of the orchestrator's",
            id="clock-differs",
        ),
    ],
)
def test_what_answers_instead_of_an_orchestrator(
    name: str, days: int, answer: bytes, check: str, status: str, observed: str, agent: Agent
) -> None:
    ca, key = certificate(agent.base, name, days=days)
    with server(ca, key, answer) as port:
        agent.configure(orchestrator={"url": f"https://127.0.0.1:{port}", "ca_file": str(ca)})
        found = report(agent)[check]
    assert found["status"] == status, found
    assert observed in found["observed"]


def test_a_port_that_says_nothing_is_given_up(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        agent.configure(orchestrator={"url": url})
        begun = time.monotonic()
        found = report(agent)["orchestrator"]
    assert time.monotonic() - begun < checkup.LIMIT_S + 15
    assert found["status"] == "fail"
    assert "does not answer" in found["observed"]


def test_a_full_disk_is_found(agent: Agent) -> None:
    agent.state_dir.mkdir(mode=0o700)
    with mounted(agent.state_dir, "size=1m"):
        found = report(agent)["disk"]
    assert found["status"] == "fail"
    assert str(agent.state_dir) in found["observed"]


def test_a_temporary_directory_without_execution_is_found(agent: Agent) -> None:
    scheduled = agent.state_dir / "tmp"
    scheduled.mkdir(parents=True)
    with mounted(scheduled, "noexec"):
        found = report(agent)["TMPDIR"]
    assert found["status"] == "fail"
    assert f"{scheduled} is mounted noexec" in found["observed"]
    assert "TMPDIR" in found["hint"]


def test_an_executor_without_its_program_is_named(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    from letsbe.executors.echo import Echo

    monkeypatch.setattr(Echo, "needs", ("no-such-program",))
    found = [finding for finding in checkup.examine(str(agent.config_file)) if finding.check == "executors"]
    assert [finding.observed for finding in found if finding.status == "warn"][:1] == [
        "ECHO can't work: no-such-program is not installed"
    ]


@pytest.mark.parametrize(
    ("making", "status", "observed"),
    [
        pytest.param(bad_engines.nothing, "warn", "the engine does not answer: Cannot connect", id="down"),
        pytest.param(bad_engines.hung, "warn", "the engine does not answer: no answer within", id="hangs"),
        pytest.param(bad_engines.forbidden, "warn", "the engine does not answer: .*permission denied", id="forbidden"),
        pytest.param(bad_engines.without_docker, "warn", "no docker program", id="no-docker"),
        pytest.param(
            bad_engines.without_compose, "warn", "no compose plugin: .*docker compose|command", id="no-compose"
        ),
        pytest.param(bad_engines.compose_of("2.4.1"), "warn", r"compose 2\.4\.1, which is too old", id="old-compose"),
        pytest.param(bad_engines.compose_of("5.0.2"), "ok", r"^engine \d.*, compose 5\.0\.2$", id="new-compose"),
    ],
)
def test_engine_and_compose_are_told(
    making: bad_engines.Making, status: str, observed: str, engine: str, agent: Agent
) -> None:
    with making(agent.base) as bad:
        command = [*bad.prefix, *program(), "doctor"]
        done = subprocess.run(command, env=agent.environment(bad.environment), capture_output=True, check=False)
    found = next(one for one in json.loads(done.stdout)["checks"] if one["check"] == "docker")
    assert found["status"] == status
    assert re.search(observed, found["observed"])


def test_a_check_that_hangs_is_left_behind(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LIMIT_S", 0.2)
    slow = {"fast": lambda _: [ok("fast", "done")], "slow": lambda _: time.sleep(30) or []}
    monkeypatch.setattr(checkup, "_CHECKS", slow)
    begun = time.monotonic()
    found = {finding.check: finding.status for finding in checkup.examine(str(agent.config_file))}
    assert time.monotonic() - begun < 20
    assert found == {"configuration": "ok", "fast": "ok", "slow": "fail"}


def test_drawn_for_a_person(agent: Agent) -> None:
    done = agent.cli("doctor", "--output", "text")
    text = done.stdout.decode()
    assert "none is set: local use only" in text
    assert "Set orchestrator.url" in text
    assert text.rstrip().endswith("failed")


def certificate(directory: Path, name: str, *, days: float) -> tuple[Path, Path]:
    """A self-signed certificate for a name or an address, and its key."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    address = name.replace(".", "").isdigit()
    alternative = x509.IPAddress(ipaddress.ip_address(name)) if address else x509.DNSName(name)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days, minutes=5))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca, private = directory / "self.pem", directory / "self.key"
    ca.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ca, private


@contextmanager
def server(ca: Path, key: Path, answer: bytes) -> Iterator[int]:
    """A TLS server that gives every request the same bytes, and hangs up; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as opened:
                        opened.recv(65_536)
                        opened.sendall(answer)
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A tmpfs on a directory."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_report_has_the_documented_shape(agent: Agent) -> None:
    document: Any = agent.json("doctor")
    assert set(document) == {"status", "checks"}
    assert all(set(finding) == {"check", "status", "observed", "hint"} for finding in document["checks"])


def test_a_task_type_lacks_an_engine_that_does_not_answer(agent: Agent) -> None:
    done = agent.cli("doctor", env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    findings = [one["observed"] for one in json.loads(done.stdout)["checks"] if one["check"] == "executors"]
    reason = "no Docker engine answers at unix:///nowhere/docker.sock: No such file or directory"
    assert f"STACK_HEALTH can't work: {reason}" in findings
    assert f"HEALTHCHECK does less: {reason}" in findings
    found = agent.cli("echo", "--probe", env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    abilities = {one["type"]: one for one in json.loads(found.stdout)["data"]["abilities"]}
    assert abilities["STACK_HEALTH"]["missing"] == ["docker"]
    assert abilities["HEALTHCHECK"]["works"]
    assert abilities["HEALTHCHECK"]["limited"] == ["docker"]
