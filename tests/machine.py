"""A throw-away copy of this machine: its files under an overlay, its own processes, the same network.

What is installed, started or broken in it is gone with it. Needs root, for the namespaces.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.agents import program

ROOT = Path(__file__).resolve().parent.parent

_FILES = """
set -e
base=$1; shift
mount -t tmpfs -o mode=0755 machine "$base"
root=$base/root
mkdir "$base/upper" "$base/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" machine "$root"
mount -t proc proc "$root/proc"
share() {
    for shared; do
        mkdir -p "$root$shared"
        mount --bind "$shared" "$root$shared"
    done
}
"""

_PLAIN = (
    _FILES
    + """
mount --rbind /dev "$root/dev"
share "$@"
echo ready
exec chroot "$root" sleep infinity
"""
)

#: systemd as the first process, with nothing to do but what the test tells it, and no way to the real machine's kernel
#: settings and devices.
_SYSTEMD = (
    _FILES
    + """
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t tmpfs -o mode=0755 sys "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
if [ -d /sys/fs/cgroup/systemd ]; then
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
else
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
fi
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=0755 dev "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
share "$@"
rm -rf "$root"/etc/systemd/system/* "$root"/lib/systemd/system/*.wants
for socket in systemd-journald.socket systemd-journald-dev-log.socket; do
    mkdir -p "$root/etc/systemd/system/sockets.target.wants"
    ln -s "/lib/systemd/system/$socket" "$root/etc/systemd/system/sockets.target.wants/"
done
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
echo ready
exec >/dev/null 2>&1
exec chroot "$root" env -i container=letsbe-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=basic.target --log-target=null
"""
)

#: Puts itself into a control group of its own first: systemd takes the one that it finds itself in for the whole tree.
_OWN_GROUP = """
set -e
group=$1; shift
mkdir "$group"
echo $$ >"$group/cgroup.procs"
exec "$@"
"""


class Machine:
    """The copy; ``path`` leads into its files from outside."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--cgroup", "--root", "--wd=/", "--"]
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
def machine(base: Path, *shared: Path, systemd: bool = False) -> Iterator[Machine]:
    """A copy of this machine, made in the empty directory ``base``. The ``shared`` directories are the real ones.

    Nothing runs in it at first, or else systemd.
    """
    base.mkdir()
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    arguments = [str(base), str(ROOT), *map(str, shared)]
    command = [*unshare, "sh", "-c", _PLAIN, "boot", *arguments]
    with ExitStack() as stack:
        if systemd:
            group = stack.enter_context(_control_group(base.parent.name))
            inside = [*unshare, "--cgroup", "sh", "-c", _SYSTEMD, "boot", *arguments]
            command = ["sh", "-c", _OWN_GROUP, "group", str(group), *inside]
        booted = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(booted.kill)
        assert booted.stdout is not None
        assert booted.stdout.readline() == b"ready\n"
        pid = int(Path(f"/proc/{booted.pid}/task/{booted.pid}/children").read_text())
        stack.callback(_kill, pid)
        _wait_until_inside(pid)
        copy = Machine(pid)
        if copy.letsbe[0] == sys.executable:
            _importable(copy)
        yield copy


def _wait_until_inside(pid: int) -> None:
    """Until the copy's first process has the copy as its root: before that, what enters it is on the real machine."""
    deadline = time.monotonic() + 10
    while os.path.samestat(os.stat(f"/proc/{pid}/root/"), os.stat("/")):
        assert time.monotonic() < deadline, "the copy of this machine was not entered"
        time.sleep(0.01)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def _control_group(name: str) -> Iterator[Path]:
    """The path of a control group that is not there yet, and is gone in the end."""
    tree = Path("/sys/fs/cgroup/systemd" if Path("/sys/fs/cgroup/systemd").is_dir() else "/sys/fs/cgroup")
    group = tree / f"letsbe-{os.getpid()}-{name}"
    try:
        yield group
    finally:
        deadline = time.monotonic() + 10
        while group.exists():
            try:
                for directory, _, _ in os.walk(group, topdown=False):
                    os.rmdir(directory)
            except OSError:  # the last process is on its way out
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _importable(copy: Machine) -> None:
    """From source, ``python -m letsbe`` works in any directory and for any user, as if the package were installed."""
    import site

    copy.path(f"{site.getsitepackages()[0]}/letsbe-tests.pth").write_text(f"{ROOT}\n")
    for start in (Path(sys.executable), Path(sys.executable).resolve(), ROOT / "letsbe"):
        for directory in start.parents:
            copy.run("chmod", "go+x", str(directory))
