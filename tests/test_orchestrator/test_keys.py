"""Certificates, the signing key, and the spans and moments that people write."""

from __future__ import annotations

import base64
import datetime
import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.verification import PolicyBuilder, Store

from letsbe.errors import LetsbeError
from letsbe.orchestrator import certificates, signing
from letsbe.orchestrator.bootstrap import initialise
from letsbe.orchestrator.times import ago, parse_moment, parse_span
from letsbe.protocol import Task, epoch, new_id
from letsbe.signatures import key_id
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import registered


def names(home: Orchestrator) -> list[str]:
    return certificates.names_of(Path(home.home.server_certificate).read_bytes())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_server_certificate_holds_for_loopback_before_a_strict_verifier(home: Orchestrator, name: str) -> None:
    ca, server = (
        x509.load_pem_x509_certificate(Path(file).read_bytes()) for file in (home.home.ca, home.home.server_certificate)
    )
    subject = certificates._general_name(name)
    assert isinstance(subject, (x509.DNSName, x509.IPAddress))
    PolicyBuilder().store(Store([ca])).build_server_verifier(subject).verify(server, [])


def test_openssl_in_strict_mode_takes_it(orchestrator: Orchestrator) -> None:
    import socket

    context = ssl.create_default_context(cafile=orchestrator.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(orchestrator.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as stream,
    ):
        assert stream.version() in ("TLSv1.2", "TLSv1.3")


def test_a_further_name_renews_the_certificate_under_the_same_key(home: Orchestrator) -> None:
    before = {file.name: file.read_bytes() for file in home.path.iterdir() if file.suffix in (".key", ".pem", ".pub")}
    setup = initialise(str(home.path), names=["Orch.Example", "192.0.2.7", "2001:DB8::0:1"])
    assert setup.renewed == [home.home.server_certificate]
    assert setup.made == []
    assert names(home) == ["localhost", "orch.example", "127.0.0.1", "::1", "192.0.2.7", "2001:db8::1"]
    after = {file.name: file.read_bytes() for file in home.path.iterdir() if file.suffix in (".key", ".pem", ".pub")}
    assert {name for name in before if before[name] != after[name]} == {"server.pem"}
    assert initialise(str(home.path), names=["orch.example"]).renewed == []


def test_a_certificate_about_to_expire_is_renewed_with_all_its_names(
    home: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise(str(home.path), names=["orch.example"])
    Path(home.home.server_certificate).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "SERVER_DAYS", certificates.RENEW_DAYS - 1)
        initialise(str(home.path), names=["orch.example"])
    setup = initialise(str(home.path))
    assert setup.renewed == [home.home.server_certificate]
    assert "orch.example" in names(home)
    assert certificates.days_left(Path(home.home.server_certificate).read_bytes()) > 1000


def test_serve_refuses_an_expired_certificate(home: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(home.home.server_certificate).unlink()
    monkeypatch.setattr(certificates, "SERVER_DAYS", -0.5)
    initialise(str(home.path))
    done = home.run("serve", "--port", "0")
    assert done.returncode == 1
    assert "has expired" in done.stderr
    assert "init --home" in done.stderr


def test_a_ca_whose_key_was_taken_away_is_not_replaced(home: Orchestrator) -> None:
    (home.path / "ca.key").unlink()
    assert initialise(str(home.path)).made == []
    with pytest.raises(LetsbeError) as raised:
        initialise(str(home.path), names=["orch.example"])
    assert raised.value.code == "ca_key_missing"


def test_a_signing_key_that_is_kept_elsewhere_is_not_replaced(home: Orchestrator) -> None:
    (home.path / "signing.key").unlink()
    assert initialise(str(home.path)).made == []
    assert not (home.path / "signing.key").exists()


def test_serving_needs_no_private_signing_key(home: Orchestrator) -> None:
    (home.path / "signing.key").unlink()
    home.start()
    assert registered(home).poll().status_code == 200
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1")
    assert done.returncode == 1
    assert "signing.key: " in done.stderr


def test_an_envelope_follows_dsse() -> None:
    """The vector: PAE is ``DSSEv1 SP len SP type SP len SP body``, lengths in decimal bytes."""
    key = Ed25519PrivateKey.generate()
    task = Task(
        task_id=new_id(),
        agent_id=new_id(),
        type="ECHO",
        payload={"message": "h\u00e9"},
        created_at="2026-11-23T10:00:00Z",
        expires_at="2026-11-24T10:00:00Z",
    )
    envelope = signing.sign(task, [key])
    body = msgspec.json.encode(task)
    signed = b"DSSEv1 32 application/vnd.letsbe.task+json %d %b" % (len(body), body)
    key.public_key().verify(base64.b64decode(envelope.signatures[0].sig), signed)
    assert envelope.signatures[0].keyid == key_id(signing.public_bytes(key))
    assert len(envelope.signatures[0].keyid) == 16
    assert signing.signed_task(envelope) == task


@pytest.mark.parametrize("content", [b"", b"nonsense", certificates.new_key()], ids=["empty", "nonsense", "ec"])
def test_a_file_that_is_no_ed25519_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(LetsbeError, match="key") as raised:
        signing.load_key(str(tmp_path / "key"))
    assert raised.value.code == "signing_key_unreadable"


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("10m", 600), ("1h30m", 5400), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_spans(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds
    assert parse_moment(text, 1000.0) == 1000 + seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "1.5h", "0s", "5m ", "11y", "5200w", "9" * 5000 + "s", "\u0665m"]
)
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(LetsbeError) as raised:
        parse_span(text)
    assert raised.value.exit_code == 2


def test_moments() -> None:
    moment = datetime.datetime(2026, 11, 23, 10, tzinfo=datetime.UTC).timestamp()
    assert parse_moment("2026-11-23T10:00:00Z", 0) == moment == epoch("2026-11-23T11:00:00+01:00")
    with pytest.raises(LetsbeError):
        parse_moment("2026-11-23T10:00:00", 0)


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0s"), (59, "59s"), (60, "1m"), (7300, "2h"), (90_000, "1d")])
def test_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text
