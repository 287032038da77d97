"""HEALTHCHECK's probes, against servers of every kind on loopback; no engine is asked."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from letsbe.errors import LetsbeError
from letsbe.host.own_addresses import local_in, own_addresses
from letsbe.host.probe_targets import ProbeTargets
from tests.agents import Agent

Talk = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@contextmanager
def served(talk: Talk, address: str = "127.0.0.1") -> Iterator[int]:
    """A server whose connections are each given to ``talk`` and closed after it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer, suppress(OSError):
                    talk(peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def says(words: bytes) -> Talk:
    return lambda peer: peer.sendall(words)


def answers(words: bytes) -> Talk:
    def talk(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(words)

    return talk


def is_silent(peer: socket.socket) -> None:
    while peer.recv(65_536):
        pass


def over_tls(base: Path, days: float, inner: Talk) -> Talk:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere.example")])
    end = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, end - timedelta(days=400), end)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (base / "server.pem").write_bytes(private + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(base / "server.pem")

    def talk(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as wrapped:
            inner(wrapped)

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n"
MISSING = b"HTTP/1.0 404 Not Found\r\n\r\n"


@pytest.mark.parametrize(
    ("talk", "probe", "status", "words"),
    [
        (is_silent, {}, "ok", "connected"),
        (says(b""), {}, "fail", "closed at once"),
        (answers(OK), {"expect": "http"}, "ok", "status 200"),
        (answers(MOVED), {"expect": "http"}, "ok", "status 302"),
        (answers(MOVED), {"expect": "http", "status": 200}, "fail", "answers with status 302"),
        (answers(MISSING), {"expect": "http"}, "fail", "answers with status 404"),
        (answers(MISSING), {"expect": "http", "status": 404}, "ok", "status 404"),
        (answers(b"+PONG\r\n"), {"expect": "http"}, "fail", "does not speak HTTP"),
        (answers(b"x" * 100_000), {"expect": "http"}, "fail", "does not speak HTTP"),
        (answers(b""), {"expect": "http"}, "fail", "closed at once"),
        (is_silent, {"expect": "http", "timeout_s": 0.2}, "fail", "no answer within 0.2 s"),
        (says(b"220 mail.example ESMTP\r\n"), {"expect": "banner"}, "ok", "220 mail.example ESMTP"),
        (is_silent, {"expect": "banner", "timeout_s": 0.2}, "fail", "no answer within 0.2 s"),
        (says(b""), {"expect": "banner"}, "fail", "closed at once"),
        (answers(b"no TLS at all\r\n"), {"expect": "tls"}, "fail", "no tls: "),
    ],
    ids=[
        *("tcp", "proxy with nothing behind", "http", "redirect", "not that status", "missing", "meant to be missing"),
        *("redis", "endless", "closes", "silent http", "banner", "silent", "no banner", "no TLS"),
    ],
)  # fmt: skip
def test_what_answers(agent: Agent, talk: Talk, probe: dict[str, Any], status: str, words: str) -> None:
    with served(talk) as port:
        outcome = agent.run("HEALTHCHECK", {"ports": [{"port": port, **probe}]})
    (found,) = outcome.data["checks"]
    assert found["status"] == status, found
    assert words in f"{found['observed']} {found['message'].lower()} {found['message']}"
    assert found["ms"] >= 0
    assert outcome.success == (status == "ok")


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [(100, "ok", ""), (5, "warn", "ends in 5.0 days"), (-2, "fail", "ended 2.0 days ago")],
    ids=["long", "soon", "ended"],
)
@pytest.mark.parametrize("expect", ["tls", "https"])
def test_the_end_of_a_certificate_that_nobody_trusts(
    agent: Agent, tmp_path: Path, expect: str, days: float, status: str, words: str
) -> None:
    with served(over_tls(tmp_path, days, answers(OK))) as port:
        outcome = agent.run("HEALTHCHECK", {"ports": [{"port": port, "expect": expect, "host": "localhost"}]})
    checks = {one["kind"]: one for one in outcome.data["checks"]}
    assert checks["probe"]["status"] == "ok", checks
    assert checks["certificate"]["status"] == status
    # A minute may pass between the making of a certificate and its reading.
    assert words.replace("5.0", "") in checks["certificate"]["message"].replace("5.0", "")


@pytest.mark.parametrize("host", ["::1", "localhost", "0.0.0.0", "::ffff:127.0.0.1"])
def test_this_machine_may_be_probed_by_any_name(agent: Agent, host: str) -> None:
    with served(is_silent, "::1" if host == "::1" else "127.0.0.1") as port:
        assert agent.run("HEALTHCHECK", {"ports": [{"port": port, "host": host}]}).data["status"] == "ok"


def test_a_port_where_nobody_is(agent: Agent) -> None:
    with socket.socket() as bound, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        datagrams.bind(("127.0.0.1", 0))
        refused, open_port = bound.getsockname()[1], datagrams.getsockname()[1]
        ports = [{"port": refused}, {"port": refused, "proto": "udp"}, {"port": open_port, "proto": "udp"}]
        checks = agent.run("HEALTHCHECK", {"ports": ports}).data["checks"]
    assert {one["target"]: one["status"] for one in checks} == {
        f"tcp://127.0.0.1:{refused}": "fail",
        f"udp://127.0.0.1:{refused}": "fail",
        f"udp://127.0.0.1:{open_port}": "ok",
    }
    assert all("refused" in one["message"] for one in checks if one["status"] == "fail")


def test_a_probe_is_repeated(agent: Agent) -> None:
    tries: list[int] = []

    def talk(peer: socket.socket) -> None:
        peer.recv(65_536)
        tries.append(1)
        peer.sendall(OK if len(tries) > 1 else b"HTTP/1.1 503 Busy\r\n\r\n")

    with served(talk) as port:
        payload = {"ports": [{"port": port, "expect": "http"}]}
        assert agent.run("HEALTHCHECK", {**payload, "retries": 2}).data["status"] == "ok"
    assert len(tries) == 2


def test_two_probes_of_a_port_are_told_apart(agent: Agent) -> None:
    with served(answers(MOVED)) as port:
        probe = {"port": port, "expect": "http"}
        ports = [probe, {**probe, "status": 200}, {**probe, "status": 302}, probe]
        checks = agent.run("HEALTHCHECK", {"ports": ports}).data["checks"]
    target = f"probe:http://127.0.0.1:{port}/"
    assert {one["id"]: one["status"] for one in checks} == {target: "ok", f"{target} #2": "fail", f"{target} #3": "ok"}


def test_elsewhere_is_refused_unless_the_host_allows_it(agent: Agent) -> None:
    payload = {"ports": [{"port": 80, "host": "192.0.2.7", "timeout_s": 0.1}]}
    outcome = agent.run("HEALTHCHECK", payload)
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.details["rule"]) == ("probe_refused", "probes.allow")
    agent.configure(probes={"allow": ["192.0.2.0/24"]})
    assert agent.run("HEALTHCHECK", payload).data["status"] == "fail"
    agent.configure(probes={"allow": ["192.0.2.7/24"]})
    with pytest.raises(LetsbeError, match=r"probes\.allow: 192\.0\.2\.7/24 has host bits set"):
        agent.config  # noqa: B018


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.53", True),
        ("172.30.0.2", True),
        ("fd00::5", True),
        ("172.30.0.3", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%lo", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2852039166", False),
    ],
)
def test_who_may_be_probed(host: str, allowed: bool) -> None:
    targets = ProbeTargets([], lambda: {"172.30.0.2", "fd00::5"})
    if allowed:
        assert targets.checked(host) == [host]
        return
    with pytest.raises(LetsbeError) as refused:
        assert targets.checked(host)
    assert refused.value.code == "probe_refused"


def test_a_name_is_resolved_once_and_connected_to_as_checked(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "fickle.example":
            return real(host, *rest, **more)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "192.0.2.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with served(is_silent) as port:
        probe = {"port": port, "host": "fickle.example"}
        assert agent.run("HEALTHCHECK", {"ports": [probe], "retries": 1}).data["status"] == "ok"
    assert len(asked) == 1


def test_a_name_without_an_address_is_unhealthy(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    outcome = agent.run("HEALTHCHECK", {"ports": [{"port": 1, "host": "nobody.example"}]})
    assert "nobody.example has no address" in outcome.data["checks"][0]["message"]


def test_own_addresses_are_those_of_the_kernel() -> None:
    assert {ip_address("127.0.0.1"), ip_address("::1")} <= own_addresses()
    table = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /24 link UNICAST
     |-- 10.0.0.7
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
"""
    assert local_in(table) == {ip_address("10.0.0.7")}
