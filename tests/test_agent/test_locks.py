from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from letsbe.agent.locks import Locks, holder_now
from letsbe.errors import LetsbeError

HOLD = textwrap.dedent(
    """
    import sys, time
    from letsbe.agent.locks import Locks, holder_now
    with Locks(sys.argv[1]).hold(set(sys.argv[2:]), holder_now("SHELL", "task-1")):
        print("held", flush=True)
        time.sleep(60)
    """
)


def hold_elsewhere(state_dir: Path, *names: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(state_dir), *names], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    child = hold_elsewhere(tmp_path, "nginx")
    try:
        with pytest.raises(LetsbeError) as raised, Locks(str(tmp_path)).hold({"nginx"}, holder_now("ECHO", None)):
            pass
        assert raised.value.code == "busy"
        assert raised.value.exit_code == 5
        assert raised.value.details["holder"]["pid"] == child.pid
        assert raised.value.details["holder"]["task_id"] == "task-1"
        assert "SHELL" in raised.value.message
        assert Locks(str(tmp_path)).holder("nginx").pid == child.pid  # type: ignore[union-attr]
    finally:
        child.kill()
        child.wait()
    assert Locks(str(tmp_path)).holder("nginx") is None
    with Locks(str(tmp_path)).hold({"nginx"}, holder_now("ECHO", None)):
        pass


def test_unrelated_work_does_not_wait(tmp_path: Path) -> None:
    child = hold_elsewhere(tmp_path, "nginx")
    try:
        with Locks(str(tmp_path)).hold({"apt"}, holder_now("ECHO", None)):
            pass
    finally:
        child.kill()
        child.wait()


def test_waiting_gets_it_when_it_is_freed(tmp_path: Path) -> None:
    child = hold_elsewhere(tmp_path, "nginx")
    threading.Timer(0.5, child.kill).start()
    with Locks(str(tmp_path)).hold({"nginx"}, holder_now("ECHO", None), wait_s=20):
        pass
    child.wait()


def test_locks_are_not_inherited(tmp_path: Path) -> None:
    with Locks(str(tmp_path)).hold({"nginx"}, holder_now("SHELL", None)):
        sleeper = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with Locks(str(tmp_path)).hold({"nginx"}, holder_now("ECHO", None)):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_all_or_none(tmp_path: Path) -> None:
    child = hold_elsewhere(tmp_path, "b")
    try:
        with pytest.raises(LetsbeError), Locks(str(tmp_path)).hold({"a", "b"}, holder_now("ECHO", None)):
            pass
        assert Locks(str(tmp_path)).holder("a") is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("name", ["file:/opt/a/b", "file:" + "/long" * 500, "file:/opt/ä%/\n", "file:/r/" + "🐳" * 50])
def test_any_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    locks = Locks(str(tmp_path))
    with locks.hold({name}, holder_now("ECHO", None)):
        assert locks.holder(name) is not None
    assert len(os.listdir(tmp_path / "locks")) == 1


def test_sweep_leaves_held_and_young_ones(tmp_path: Path) -> None:
    locks = Locks(str(tmp_path))
    child = hold_elsewhere(tmp_path, "held", "old")
    try:
        for name in ("young", "stale"):
            with locks.hold({name}, holder_now("ECHO", None)):
                pass
        past = time.time() - 30 * 86_400
        for name in ("held", "stale"):
            os.utime(tmp_path / "locks" / name, (past, past))
        locks.sweep()
        assert sorted(os.listdir(tmp_path / "locks")) == ["held", "old", "young"]
    finally:
        child.kill()
        child.wait()


def test_sweep_goes_on_past_what_another_has_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = Locks(str(tmp_path))
    with locks.hold({"stale"}, holder_now("ECHO", None)):
        pass
    os.utime(tmp_path / "locks" / "stale", (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda _: ["gone", "stale"])
        locks.sweep()
    assert os.listdir(tmp_path / "locks") == []
