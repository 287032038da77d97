"""Polls that are ended by SIGKILL: at an instant, at a system call, or robbed of a child."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time

from tests.agents import Agent, program

#: Every system call by which a run leaves something behind on disk.
ON_DISK = "fsync,fdatasync,rename,renameat,renameat2,write,pwrite64,fchmod,fchown,unlink,unlinkat,linkat,ftruncate"
#: The system calls by which a poll leaves something behind, on disk or with the orchestrator, and how often one with a
#: few tasks makes each; past it there is nothing to kill.
EFFECTS = {
    "pwrite64": 260,
    "fdatasync": 30,
    "write": 25,
    "fsync": 20,
    "unlink": 8,
    "ftruncate": 7,
    "rename": 6,
    "connect": 5,
    "renameat": 3,
    "fchmod": 3,
}


def killed_poll(agent: Agent, chance: random.Random, usual_s: float) -> str:
    """Run a poll that does not come to its end, or only without one of its children; says how it was killed."""
    how = chance.choices(["at an effect", "alone", "with its children", "a child of it"], [3, 3, 2, 2])[0]
    if how == "at an effect":
        call = chance.choice(list(EFFECTS))  # strace counts each for itself
        _killed_at_effect(agent, call, chance.randint(1, EFFECTS[call]))
        return how
    poll = subprocess.Popen(
        [*program(), "poll", "--now"],
        env=agent.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Its start, before anything happens, is a third of it: few kills are spent on that.
    time.sleep(usual_s * chance.triangular(0.1, 1.1, 0.6))
    if how == "alone":
        poll.kill()
    elif how == "with its children":
        for pid in [poll.pid, *descendants(poll.pid)]:
            _kill(pid)
    else:
        robbed = _rob(poll, chance)
        how = how if robbed else "spared"
    poll.wait(60)
    return how


def _rob(poll: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """Kill a child of a poll as soon as it has one, and let the poll go on."""
    while poll.poll() is None:
        if children := descendants(poll.pid):
            _kill(chance.choice(children))
            return True
        time.sleep(0.005)
    return False


def _killed_at_effect(agent: Agent, call: str, number: int) -> None:
    inject = f"inject={call}:signal=KILL:when={number}"
    subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, *program(), "poll", "--now"],
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    for parent in [pid]:
        with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children") as file:
            for child in map(int, file.read().split()):
                found += [child, *descendants(child)]
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
