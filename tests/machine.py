"""A throw-away copy of this machine: its files under an overlay, its own processes, the same network.

What is installed, started or broken in it is gone with it. Needs root, for the namespaces.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.agents import program

ROOT = Path(__file__).resolve().parent.parent

_BOOT = """
set -e
base=$1; shift
mount -t tmpfs -o mode=0755 machine "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" machine "$base/root"
mount -t proc proc "$base/root/proc"
mount --rbind /dev "$base/root/dev"
for shared; do
    mkdir -p "$base/root$shared"
    mount --bind "$shared" "$base/root$shared"
done
echo ready
exec chroot "$base/root" sleep infinity
"""


class Machine:
    """The copy; ``path`` leads into its files from outside."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--root", "--wd=/", "--"]
        self._root = Path(f"/proc/{pid}/root")
        self.letsbe = program()

    def path(self, path: str) -> Path:
        """A file of the machine's."""
        return self._root / path.lstrip("/")

    def run(self, *argv: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end, with an environment as cron's: nothing of this process's leaks in."""
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        done = subprocess.run([*self._enter, *environment, *argv], input=stdin, capture_output=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(argv)}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}")
        return done

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program that goes on until the machine ends, or it is killed."""
        return subprocess.Popen([*self._enter, "env", "-i", "PATH=/usr/bin:/bin", *argv], stdin=subprocess.DEVNULL)

    def forget(self, *paths: str) -> None:
        """Remove what this machine happens to have, and the test does not want."""
        self.run("rm", "-rf", *paths)


@contextmanager
def machine(base: Path, *shared: Path) -> Iterator[Machine]:
    """A copy of this machine, made in the empty directory ``base``. The ``shared`` directories are the real ones."""
    base.mkdir()
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    booted = subprocess.Popen(
        [*command, "sh", "-c", _BOOT, "boot", str(base), str(ROOT), *map(str, shared)], stdout=subprocess.PIPE
    )
    try:
        assert booted.stdout is not None
        assert booted.stdout.readline() == b"ready\n"
        pid = int(Path(f"/proc/{booted.pid}/task/{booted.pid}/children").read_text())
        copy = Machine(pid)
        if copy.letsbe[0] == sys.executable:
            _importable(copy)
        yield copy
    finally:
        booted.kill()
        booted.wait()
        booted.stdout.close() if booted.stdout else None


def _importable(copy: Machine) -> None:
    """From source, ``python -m letsbe`` works in any directory and for any user, as if the package were installed."""
    import site

    copy.path(f"{site.getsitepackages()[0]}/letsbe-tests.pth").write_text(f"{ROOT}\n")
    for start in (Path(sys.executable), Path(sys.executable).resolve(), ROOT / "letsbe"):
        for directory in start.parents:
            copy.run("chmod", "go+x", str(directory))
