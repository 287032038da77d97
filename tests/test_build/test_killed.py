"""Nothing stays behind: after a normal end, a signal, or SIGKILL at any instant and a later sweep."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from letsbe.frozen import MARKER
from letsbe.frozen.sweep import GRACE_S
from letsbe.host.process_table import one_process

NOBODY = 65534


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    """An empty temporary directory."""
    directory = tmp_path / "temp"
    directory.mkdir()
    return directory


def start(binary: Path, temp: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start it in a process group of its own, both processes in it."""
    return subprocess.Popen(
        [binary, *arguments],
        env=os.environ | {"TMPDIR": str(temp)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def age(temp: Path) -> None:
    """Let the directories look as if nobody had touched them for the time of grace."""
    then = time.time() - GRACE_S - 1
    for directory in temp.iterdir():
        os.utime(directory, (then, then), follow_symlinks=False)


def swept(probe: Path, temp: Path) -> list[str]:
    env = os.environ | {"TMPDIR": str(temp)}
    removed: list[str] = json.loads(subprocess.check_output([probe, "sweep"], env=env, text=True))
    return sorted(path for path in removed if path.startswith(str(temp)))


@contextmanager
def holding(probe: Path, temp: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A running agent and its unpack directory."""
    process = start(probe, temp, "hold")
    assert process.stdout is not None
    directory = Path(process.stdout.readline().strip())
    try:
        yield process, directory
    finally:
        process.communicate(timeout=60)


def agent_pid(loader: int) -> int:
    """The second process."""
    return int(Path(f"/proc/{loader}/task/{loader}/children").read_text().split()[0])


def wait_until_ended(pid: int) -> None:
    """Wait for a process that is not ours: a test before this one may have made pytest adopt, but not reap, orphans."""
    deadline = time.monotonic() + 30
    while (process := one_process(pid)) is not None and not process.ended:
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.01)


def test_a_normal_end_leaves_nothing(letsbe_binary: Path, temp: Path) -> None:
    process = start(letsbe_binary, temp, "echo", "{}")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert list(temp.iterdir()) == []


def test_sigterm_ends_both_processes_and_leaves_nothing(probe: Path, temp: Path) -> None:
    with holding(probe, temp) as (process, directory):
        assert directory.exists()
        process.terminate()
        process.wait(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert list(temp.iterdir()) == []


def test_whatever_sigkill_leaves_a_later_run_sweeps(letsbe_binary: Path, probe: Path, temp: Path) -> None:
    instants = random.Random(7)
    shapes: set[str] = set()
    for _ in range(120):
        process = start(letsbe_binary, temp, "echo", "{}")
        time.sleep(instants.uniform(0, 0.09))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    for directory in temp.iterdir():
        names = os.listdir(directory)
        complete = "base_library.zip" in names and MARKER in names
        shapes.add("empty" if not names else "whole" if complete else "partial" if MARKER in names else "unmarked")
    assert {"partial", "whole"} <= shapes, "no instant hit the unpacking: choose others"

    left = sorted(map(str, temp.iterdir()))
    age(temp)
    assert swept(probe, temp) == left
    assert list(temp.iterdir()) == []


def test_an_interrupted_removal_is_resumed(probe: Path, temp: Path) -> None:
    """The first process, killed while it removes, may have removed the marker already."""
    with holding(probe, temp) as (process, directory):
        os.killpg(process.pid, signal.SIGKILL)
    (directory / MARKER).unlink()
    age(temp)
    assert swept(probe, temp) == [str(directory)]


def test_an_agent_whose_first_process_was_killed_keeps_its_directory_while_it_lives(probe: Path, temp: Path) -> None:
    with holding(probe, temp) as (process, directory):
        agent = agent_pid(process.pid)
        process.kill()
        process.wait()
        age(temp)
        assert swept(probe, temp) == []
        assert (directory / "base_library.zip").exists()
        os.kill(agent, signal.SIGKILL)
    wait_until_ended(agent)
    assert swept(probe, temp) == [str(directory)]


def test_many_sweepers_and_agents_at_once_do_no_harm(probe: Path, letsbe_binary: Path, temp: Path) -> None:
    for _ in range(20):
        process = start(letsbe_binary, temp, "echo", "{}")
        time.sleep(0.03)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    age(temp)
    running = [start(probe, temp, "sweep") for _ in range(6)] + [
        start(letsbe_binary, temp, "echo", "{}") for _ in range(6)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 12
    removed = [path for output in outputs[:6] for path in json.loads(output) if path.startswith(str(temp))]
    assert len(removed) == len(set(removed)), "two sweepers both claim to have removed one"
    assert list(temp.iterdir()) == []


def test_another_user_sweeps_only_their_own(probe: Path, temp: Path, tmp_path: Path) -> None:
    with holding(probe, temp) as (process, directory):
        os.killpg(process.pid, signal.SIGKILL)
    age(temp)
    temp.chmod(0o1777)
    for parent in [temp, *temp.parents]:
        if parent.owner() == "root" and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    reachable = tmp_path / "probe"
    reachable.write_bytes(probe.read_bytes())
    reachable.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temp)}
    command: list[str | Path] = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        reachable,
        "sweep",
    ]
    assert json.loads(subprocess.check_output(command, env=env, text=True)) == []
    assert (directory / "base_library.zip").exists()
