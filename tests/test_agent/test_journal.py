from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from letsbe.agent import journal as journal_module
from letsbe.agent.housekeeping import tidy
from letsbe.agent.inbox import Inbox
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import Run
from letsbe.agent.trust import Believed
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome, Task, instant, new_id
from tests.agents import Agent


def run(**more: object) -> Run:
    return Run(
        **{
            "id": new_id(),
            "origin": "local",
            "caller": "{}",
            "type": "ECHO",
            "payload": "{}",
            "state": "started",
            **more,
        }
    )  # type: ignore[arg-type]


def outcome(task_id: str) -> Outcome:
    return Outcome(
        task_id=task_id, type="ECHO", status="succeeded", success=True, started_at=instant(0), duration_ms=0,
        agent_version="0",
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "state"))


def test_first_outcome_counts(journal: Journal) -> None:
    row = run()
    journal.start(row)
    journal.finish(row.id, outcome(row.id))
    journal.finish(row.id, outcome("another"))
    found = journal.get(row.id)
    assert found is not None
    assert found.decoded_outcome() == outcome(row.id)


def test_received_task_starts_once(journal: Journal) -> None:
    row = run(state="received", attempt_id=new_id(), origin="orchestrator")
    journal.receive(row)
    journal.start_received(row.id, "{}")
    with pytest.raises(LetsbeError, match="was started before"):
        journal.start_received(row.id, "{}")


def test_pruning_keeps_what_is_owed_and_what_could_be_replayed(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_ROWS", 0)
    rows = {
        "local": run(),
        "owed": run(state="received", attempt_id="a", claimed_at=1.0, origin="orchestrator"),
        "acked": run(state="received", attempt_id="b", claimed_at=1.0, origin="orchestrator"),
        "replayable": run(
            state="received", attempt_id="c", claimed_at=1.0, origin="orchestrator", expires_at=time.time() + 60
        ),
        "running": run(),
    }
    for name, row in rows.items():
        (journal.start if row.state == "started" else journal.receive)(row)
        if name != "running":
            journal.finish(row.id, outcome(row.id))
        if name in ("acked", "replayable"):
            journal.acknowledge(row.id)
    assert set(journal.prune()) == {rows["local"].id, rows["acked"].id}
    assert [row.id for row in journal.outbox()] == [rows["owed"].id]


def test_state_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(LetsbeError) as raised:
        Journal(str(state))
    assert raised.value.code == "unsafe_permissions"


def test_journal_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    import sqlite3
    import threading

    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    other = sqlite3.connect(state / "state.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    end.start()
    with closing(Journal(str(state))) as journal:
        journal.remember("name", "value")
        assert journal.fact("name") == "value"
    end.join()
    other.close()


def test_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    state = tmp_path / "state"
    Journal(str(state)).close()
    with sqlite3.connect(state / "state.db") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(LetsbeError, match="newer letsbe"):
        Journal(str(state))


def test_secret_in_a_step_is_not_journaled(agent: Agent) -> None:
    inner = {"id": "a", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/x", "content": "innocent-looking"}}
    nested = {"id": "b", "type": "COMPOSITE", "payload": {"steps": [{**inner, "id": "c"}]}}
    assert agent.run("COMPOSITE", {"steps": [inner, nested]}).success
    assert not any(b"innocent-looking" in path.read_bytes() for path in agent.state_dir.glob("state.db*"))
    payload = agent.json("history")[0]["payload"]
    assert payload["steps"][0]["payload"]["content"]["bytes"] == len("innocent-looking")


def test_inbox_keeps_nothing_of_a_task_that_is_over(agent: Agent) -> None:
    journal = agent.journal()
    inbox = Inbox(str(agent.state_dir))
    ids = {name: new_id() for name in ("crashed", "unknown", "waiting")}
    for name, task_id in ids.items():
        task = Task(task_id=task_id, agent_id=new_id(), type="ECHO", created_at=instant(0), expires_at=instant(0))
        inbox.put(Believed(task=task))
        os.utime(agent.state_dir / "inbox" / task_id, (0, 0))
        if name != "unknown":
            journal.receive(run(id=task_id, state="received", attempt_id=new_id(), origin="orchestrator"))
    pid = os.fork()
    if pid == 0:
        agent.journal().start_received(ids["crashed"], "{}")
        os._exit(0)
    os.waitpid(pid, 0)
    taken_up = new_id()  # by a poll, at this moment
    (agent.state_dir / "inbox" / taken_up).write_bytes(b"")
    tidy(agent.config, journal)
    journal.close()
    assert sorted(inbox.task_ids(older_than_s=-60)) == sorted([ids["waiting"], taken_up])
