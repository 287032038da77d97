"""A real sshd on a loopback port, with a key whose forced command is ``letsbe gate``."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.agents import program
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {base}/host
PidFile none
AuthorizedKeysFile {base}/authorized_keys
TrustedUserCAKeys {base}/ca.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
ExposeAuthInfo yes
Subsystem sftp internal-sftp
AcceptEnv LETSBE_CONFIG
"""


class Sshd:
    """The server, and a client of it."""

    def __init__(self, base: Path, port: int) -> None:
        self.base = base
        self.port = port

    @property
    def fingerprint(self) -> str:
        """The client's key, as ``ssh-keygen -l`` shows it."""
        shown = subprocess.run(["ssh-keygen", "-l", "-f", self.base / "client.pub"], capture_output=True, check=True)
        return shown.stdout.decode().split()[1]

    def argv(self, *options: str, key: str = "client") -> list[str]:
        """The client's command line, up to the command."""
        fixed = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "Port": str(self.port),
        }
        words = [word for name, value in fixed.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "/dev/null", *words, "-i", str(self.base / key), *options, "127.0.0.1"]

    def ssh(
        self, *command: str, stdin: bytes = b"", options: tuple[str, ...] = (), key: str = "client"
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``ssh HOST COMMAND``."""
        argv = [*self.argv(*options, key=key), *command]
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)


@contextmanager
def sshd(base: Path, config_file: Path) -> Iterator[Sshd]:
    """Start it below ``base``; the gate of its one key works with ``config_file``."""
    base.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which its service would make
    for name in ("host", "client", "ca"):
        keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(base / name))
    gate = shlex.join(["env", f"PYTHONPATH={ROOT}", *program(), "gate", "--config", str(config_file)])
    (base / "gate").write_text(gate)
    (base / "authorized_keys").write_text(f'restrict,command="{gate}" {(base / "client.pub").read_text()}')
    server = Sshd(base, free_port())
    config = _CONFIG.format(port=server.port, base=base)
    (base / "sshd_config").write_text(config)
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", base / "sshd_config"], stderr=log, cwd="/")
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def keygen(*arguments: str) -> None:
    """Run ssh-keygen."""
    subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, timeout=30)


def _wait(server: Sshd, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((server.base / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return
