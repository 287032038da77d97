"""State directories on disks that fill up or fail."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.agents import Agent, program

#: The whole state file system, in bytes: room for some hundred rounds of snapshots.
SMALL_BYTES = 16 * 1024 * 1024

#: Every system call that puts something onto the state's disk, or asks for room there.
WRITES = "write,pwrite64,fsync,fdatasync,openat,rename,ftruncate,fallocate,mkdir,unlink"


class SmallDisk:
    """A tmpfs over a directory, in a mount namespace of its own: ``inside`` is where this process sees it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        mount = f"mount -t tmpfs -o mode=0700,size={SMALL_BYTES} tmpfs {directory} && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.inside = Path(f"/proc/{self._holder.pid}/root{directory}")

    def close(self) -> None:
        """End the namespace, and the file system with it."""
        self._holder.communicate(timeout=10)

    def command(self) -> list[str]:
        """What to put before a command that is to see the small disk."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={os.getcwd()}"]

    @contextlib.contextmanager
    def filled(self, left: int) -> Iterator[None]:
        """Fill the disk up, but for ``left`` bytes; free it at the end."""
        filler = self.inside / "filler"
        status = os.statvfs(self.inside)
        filler.write_bytes(b"\0" * max(0, status.f_bavail * status.f_frsize - left))
        try:
            yield
        finally:
            filler.unlink()


class DiskAgent(Agent):
    """An agent that runs on a small disk."""

    disk: SmallDisk

    def cli(
        self, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``letsbe`` where the small disk is mounted."""
        command = [*self.disk.command(), *program(), *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, env=self.environment(env), timeout=120, check=False
        )


def failing_poll(agent: Agent, error: str, when: str) -> subprocess.CompletedProcess[bytes]:
    """A poll whose ``when``-th access to the state's disk fails with ``error`` (as strace's inject says it)."""
    files = [path for path in agent.state_dir.rglob("*") if path.is_file()]
    files += [agent.state_dir / name for name in ("state.db", "state.db-wal", "state.db-shm")]
    paths = [word for path in {*files, *agent.state_dir.rglob("*"), agent.state_dir} for word in ("-P", str(path))]
    tracing = ["strace", "-qq", "-o", "/dev/null", *paths, "-e", f"trace={WRITES}"]
    return subprocess.run(
        [*tracing, "-e", f"inject={WRITES}:error={error}:when={when}", *program(), "poll", "--now"],
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
