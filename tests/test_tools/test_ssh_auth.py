"""What sshd tells of a client's key, against ssh-keygen's own reading of real keys and certificates."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from letsbe.tools.ssh_auth import Proof, proof

KINDS = {"ed25519": [], "ecdsa": ["-b", "384"], "rsa": ["-b", "2048"]}


def keygen(*arguments: str) -> str:
    done = subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


@pytest.fixture(scope="module", params=KINDS)
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "key"
    keygen("-q", "-t", request.param, *KINDS[request.param], "-N", "", "-C", "", "-f", str(path))
    return path


def fingerprint(key: Path) -> str:
    return keygen("-l", "-f", f"{key}.pub").split()[1]


def test_a_key(key: Path) -> None:
    line = Path(f"{key}.pub").read_text()
    assert proof(f"password\npublickey {line}\n") == Proof(fingerprint=fingerprint(key))


def test_a_certificate_names_its_holder_and_the_key_inside(key: Path) -> None:
    keygen("-q", "-s", str(key), "-I", "ann@example", "-n", "root", f"{key}.pub")
    line = " ".join(Path(f"{key}-cert.pub").read_text().split()[:2])
    assert "-cert-v01@openssh.com" in line
    assert proof(f"publickey {line}\n") == Proof(fingerprint=fingerprint(key), certificate_of="ann@example")


def test_a_holder_s_name_steers_no_terminal(key: Path) -> None:
    keygen("-q", "-s", str(key), "-I", "ann\x1b[2J", f"{key}.pub")
    found = proof("publickey " + Path(f"{key}-cert.pub").read_text())
    assert found is not None
    assert found.certificate_of == "ann?[2J"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "password\n",
        "publickey ssh-ed25519\n",
        "publickey ssh-ed25519 !!!\n",
        "publickey ssh-ed25519-cert-v01@openssh.com AAAA\n",
        f"publickey ssh-rsa-cert-v01@openssh.com {b64encode(bytes([255] * 40)).decode()}\n",
        f"publickey x-cert-v01@openssh.com {b64encode(bytes(40)).decode()}\n",
    ],
)
def test_what_can_t_be_read_names_nobody(text: str) -> None:
    assert proof(text) is None
