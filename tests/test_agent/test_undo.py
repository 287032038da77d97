from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from letsbe.agent import undo
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.errors import LetsbeError
from letsbe.host import replacing
from letsbe.host.files import Files, PendingChange
from letsbe.protocol import new_id
from tests.agents import Agent


def write(agent: Agent, name: str, content: str, **more: str) -> str:
    payload = {"path": f"{agent.root}/{name}", "content": content, **more}
    outcome = agent.json("file-write", json.dumps(payload))
    assert outcome["success"], outcome
    return str(outcome["task_id"])


def test_content_mode_and_owner_come_back(agent: Agent) -> None:
    path = agent.root / "x"
    path.write_text("before")
    path.chmod(0o640)
    os.chown(path, 12, 34)
    run = write(agent, "x", "after", perms="0600", owner="0:0")
    assert agent.json("undo", run)["data"]["restored"] == [str(path)]
    status = path.stat()
    assert (path.read_text(), status.st_mode & 0o7777, status.st_uid, status.st_gid) == ("before", 0o640, 12, 34)


def test_mode_alone_comes_back(agent: Agent) -> None:
    path = agent.root / "x"
    path.write_text("same")
    path.chmod(0o640)
    run = write(agent, "x", "same", perms="0600")
    assert path.stat().st_mode & 0o777 == 0o600
    assert agent.json("undo", run)["data"]["restored"] == [str(path)]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_run_that_changed_the_mode_alone_has_changed_something(agent: Agent) -> None:
    (agent.root / "x").write_text("same")
    run = write(agent, "x", "same", perms="0600")
    with closing(agent.journal()) as journal:
        changes = undo.Undo(str(agent.state_dir), journal, Files([str(agent.root)]))
        assert changes.has_changed(run)
        agent.json("undo", run)
        assert not changes.has_changed(run)


def cut_off(descriptor: int, _before: bytes, content: bytes) -> None:
    """What a kill leaves of a write in place."""
    os.pwrite(descriptor, content[: len(content) // 2], 0)
    raise Cut


class Cut(BaseException):
    """The end of a process."""


def started(journal: Journal) -> str:
    run = Run(id=new_id(), origin="local", caller="{}", type="COMPOSITE", payload="{}", state="started")
    journal.start(run)
    return run.id


@pytest.mark.parametrize(
    ("first", "told", "changed"),
    [
        pytest.param(b"old content", "the old content", False, id="the first change"),
        pytest.param(b"one", "new content, but not the last that was to be written", True, id="after another"),
    ],
)
def test_half_written_is_put_back_to_what_was_before(
    first: bytes, told: str, changed: bool, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = agent.root / "x"
    path.write_bytes(b"old content")
    with closing(agent.journal()) as journal:
        run = started(journal)
        files = Files([str(agent.root)], undo.Snapshots(str(agent.state_dir), journal, run))
        files.write(str(path), first)
        with monkeypatch.context() as patched:
            patched.setattr(replacing, "write_in_place", cut_off)
            with pytest.raises(Cut):
                files.write(str(path), b"much newer content", in_place=True)
        assert path.read_bytes() not in (b"old content", first)
        back = undo.Undo(str(agent.state_dir), journal, files.without_recorder())
        found = back.diagnose(journal.changes(run))
        assert path.read_bytes() == first
        assert (found.findings, found.changed) == (
            [f"{path} holds {told}; it was half written, and was put back"],
            changed,
        )
        assert back.put_back(run).problems == []
    assert path.read_bytes() == b"old content"


@pytest.mark.parametrize("left", [b"somebody else's", None], ids=["written", "removed"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda files, path: files.write(path, b"old", perms=0o600), id="mode alone"),
        pytest.param(lambda files, path: files.write(path, b"new", in_place=True), id="in place"),
        pytest.param(lambda files, path: files.remove(path), id="removal"),
    ],
)
def test_what_others_did_right_before_a_change_is_not_taken_for_half_of_it(
    change: Callable[[Files, str], object], left: bytes | None, agent: Agent
) -> None:
    path = agent.root / "x"
    path.write_bytes(b"old")
    path.chmod(0o644)

    class Meddled(undo.Snapshots):
        def about_to_change(self, pending: PendingChange) -> int:
            ticket = super().about_to_change(pending)
            path.unlink() if left is None else path.write_bytes(left)
            return ticket

    with closing(agent.journal()) as journal:
        run = started(journal)
        files = Files([str(agent.root)], Meddled(str(agent.state_dir), journal, run))
        with pytest.raises(LetsbeError):
            change(files, str(path))
        undo.Undo(str(agent.state_dir), journal, files.without_recorder()).diagnose(journal.changes(run))
    assert (path.read_bytes() if path.exists() else None) == left


@pytest.mark.parametrize("left", [b"somebody else's", None], ids=["written", "removed"])
def test_a_rollback_that_goes_on_leaves_what_others_wrote(left: bytes | None, agent: Agent) -> None:
    """Only a file that was written in place may be half put back."""
    path = agent.root / "x"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with closing(agent.journal()) as journal:
        run = started(journal)
        files = Files([str(agent.root)], undo.Snapshots(str(agent.state_dir), journal, run))
        files.write(str(path), b"old", perms=0o600)
        path.unlink() if left is None else path.write_bytes(left)
        back = undo.Undo(str(agent.state_dir), journal, files.without_recorder()).put_back(run, resumed=True)
    assert back.problems == [f"changed_meanwhile: {path} was changed since; not put back"]
    assert (path.read_bytes() if path.exists() else None) == left


@pytest.mark.parametrize("name", ["x", "n" * 255], ids=["short name", "longest name"])
def test_a_rollback_that_goes_on_removes_the_temporary_files_of_its_own_file_alone(name: str, agent: Agent) -> None:
    """Those of ``x.env`` may be of a run that is just writing it."""
    path = agent.root / name
    path.write_bytes(b"old")
    (agent.root / replacing.temporary_name(name)).write_bytes(b"left by a crash")
    others = agent.root / replacing.temporary_name("x.env")
    others.write_bytes(b"somebody else's")
    with closing(agent.journal()) as journal:
        run = started(journal)
        files = Files([str(agent.root)], undo.Snapshots(str(agent.state_dir), journal, run))
        files.write(str(path), b"new")
        undo.Undo(str(agent.state_dir), journal, files.without_recorder()).put_back(run, resumed=True)
    assert {found.name: found.read_bytes() for found in agent.root.iterdir()} == {
        name: b"old",
        others.name: b"somebody else's",
    }


def test_new_file_goes_again_and_undo_can_be_undone(agent: Agent) -> None:
    path = agent.root / "x"
    run = write(agent, "x", "new")
    undone = agent.json("undo", run)
    assert not path.exists()
    agent.json("undo", undone["task_id"])
    assert path.read_text() == "new"


def test_second_undo_changes_nothing(agent: Agent) -> None:
    run = write(agent, "x", "new")
    assert agent.json("undo", run)["changed"] is True
    assert agent.json("undo", run)["changed"] is False


def test_check_says_what_would_be_put_back(agent: Agent) -> None:
    path = agent.root / "x"
    path.write_text("before")
    run = write(agent, "x", "after")
    foreseen = agent.json("undo", run, "--check")
    assert (foreseen["check"], foreseen["changed"], foreseen["task_id"]) == (True, True, None)
    assert path.read_text() == "after"
    assert agent.json("undo", run)["changed"] is True


def test_change_by_others_is_left_alone_unless_forced(agent: Agent) -> None:
    path = agent.root / "x"
    path.write_text("before")
    run = write(agent, "x", "after")
    path.write_text("by hand")
    done = agent.cli("undo", run)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "not_put_back"
    assert path.read_text() == "by hand"
    assert agent.cli("undo", run, "--force").returncode == 0
    assert path.read_text() == "before"


def test_beginning_of_an_id_is_enough(agent: Agent) -> None:
    run = write(agent, "x", "new")
    assert agent.cli("undo", run[:-3]).returncode == 0


def test_snapshots_are_dropped_when_old_or_too_many(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    (agent.root / "x").write_text("0" * 1000)
    runs = [write(agent, "x", str(number) * 1000) for number in range(1, 5)]
    directory = agent.state_dir / "undo"
    assert sorted(os.listdir(directory)) == sorted(runs)
    past = time.time() - 40 * 86_400
    os.utime(directory / runs[0], (past, past))
    monkeypatch.setattr(undo, "KEPT_BYTES", 2500)
    undo.prune(str(agent.state_dir), kept=set(runs))
    assert sorted(os.listdir(directory)) == sorted(runs)
    undo.prune(str(agent.state_dir), kept={runs[0]})
    assert sorted(os.listdir(directory)) == sorted([runs[0], *runs[2:]])
    done = agent.cli("undo", runs[1], "--force")
    assert b"no longer kept" in done.stdout
