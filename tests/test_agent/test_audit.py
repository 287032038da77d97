"""The audit chain finds what was done to the journal behind its back, and stays whole through all that is its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from letsbe.agent import journal as journal_module
from letsbe.agent import journal_schema
from letsbe.agent.journal import Journal
from letsbe.protocol import new_id
from tests.agents import Agent
from tests.test_agent.test_journal import outcome, run

#: The tables as version 1 made them.
_VERSION_1 = journal_schema._RUNS + "PRAGMA user_version = 1;"


@pytest.fixture
def journal(agent: Agent) -> Journal:
    """A journal in which everything has happened."""
    for number in range(3):
        assert agent.run("FILE_WRITE", {"path": f"{agent.root}/x", "content": f"{number}"}).success
    found = agent.journal()
    agent.cli("undo", found.latest(1)[0].id)
    owed, parked, gone = (run(state="received", attempt_id=new_id(), origin="orchestrator") for _ in range(3))
    for task in (owed, parked, gone):
        found.receive(task)
    found.forget(gone.id)
    for task in (owed, parked):
        found.claimed(task.id)
        found.start_received(task.id, '{"message": "x"}')
        assert found.start_again(task.id)
        found.start_received(task.id, '{"message": "x"}')
        found.finish(task.id, outcome(task.id))
        found.replace_outcome(task.id, b"{}")
    found.park(parked.id, "never")
    found.acknowledge(owed.id)
    return found


def test_whatever_the_agent_does_itself_is_whole(journal: Journal, agent: Agent) -> None:
    verdict = journal.verify()
    assert (verdict.whole, verdict.reason) == (True, "")
    assert verdict.head == journal.head()
    assert verdict.rows == verdict.head.seq
    done = agent.cli("history", "--verify", "--output", "text")
    assert (done.returncode, journal.head().hash in done.stdout.decode()) == (0, True)


TAMPERING: dict[str, tuple[str, str]] = {
    "outcome": ("UPDATE run SET outcome = x'00' WHERE id = (SELECT min(id) FROM run)", "outcome was changed"),
    "payload": ("UPDATE run SET payload = '{}' WHERE id = (SELECT min(id) FROM run)", "payload was changed"),
    "who": ("UPDATE run SET caller = '{}' WHERE id = (SELECT min(id) FROM run)", "caller or type was changed"),
    "state": ("UPDATE run SET state = 'finished' WHERE state = 'acked'", "state was changed"),
    "a run removed": ("DELETE FROM run WHERE id = (SELECT min(id) FROM run)", "it was removed"),
    "a run put in": (
        "INSERT INTO run (id, origin, caller, type, payload, state) VALUES ('0', 'local', '{}', 'ECHO', '{}', 'acked')",
        "it was put in",
    ),
    "a changed file": ("UPDATE change SET path = '/etc/passwd'", "changed files were changed"),
    "a change removed": ("DELETE FROM change WHERE undone = 0", "changed files were changed"),
    "undone": ("UPDATE change SET undone = 1", "undone of it was changed"),
    "an audit row edited": ("UPDATE audit SET content = replace(content, '1', '2') WHERE seq = 4", "it was changed"),
    "its columns": ("UPDATE audit SET event = 'acked' WHERE seq = 4", "columns were changed"),
    "an audit row removed": ("DELETE FROM audit WHERE seq = 4", "it was removed"),
    "the first removed": ("DELETE FROM audit WHERE seq = 1", "it was removed"),
    "the last removed": ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "rows were removed"),
    "two exchanged": (
        "UPDATE audit SET content = (SELECT content FROM audit AS other WHERE other.seq = 9 - audit.seq),"
        " hash = (SELECT hash FROM audit AS other WHERE other.seq = 9 - audit.seq) WHERE seq IN (4, 5)",
        "it was changed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "reason"), list(TAMPERING.values()), ids=list(TAMPERING))
def test_tampering_is_found_and_the_first_bad_row_named(
    journal: Journal, agent: Agent, statement: str, reason: str
) -> None:
    journal.close()
    with sqlite3.connect(agent.state_dir / "state.db") as database:
        assert database.execute(statement).rowcount > 0
    done = agent.cli("history", "--verify")
    found = json.loads(done.stdout)
    assert (done.returncode, found["whole"]) == (1, False)
    assert reason in found["reason"]
    if "seq = 4" in statement or "IN (4, 5)" in statement:
        assert found["bad_row"] == 4
    assert found["bad_row"] is not None or found["bad_run"] is not None
    told = agent.cli("history", "--verify", "--output", "text").stdout.decode()
    assert "tampered with" in told
    assert reason in told


def test_pruning_leaves_a_chain_that_can_be_verified(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    before = journal.head().seq
    monkeypatch.setattr(journal_module, "KEPT_ROWS", 3)
    assert journal.prune()
    assert journal.verify().whole
    assert journal.verify().rows < before
    monkeypatch.setattr(journal_module, "KEPT_ROWS", 0)
    journal.prune()
    assert journal.verify().whole
    journal.start(run())
    assert journal.verify().whole


def test_a_run_that_is_kept_for_long_does_not_keep_the_whole_chain(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    owed = run(state="received", attempt_id=new_id(), origin="orchestrator")
    journal.receive(owed)
    journal.claimed(owed.id)
    journal.finish(owed.id, outcome(owed.id))
    for _ in range(20):
        other = run()
        journal.start(other)
        journal.finish(other.id, outcome(other.id))
    monkeypatch.setattr(journal_module, "KEPT_ROWS", 2)
    monkeypatch.setattr(journal_module, "KEPT_AUDIT_ROWS", 10)
    journal.prune()
    verdict = journal.verify()
    assert verdict.whole, verdict.reason
    assert verdict.rows <= 10 + 3  # what is kept at most, and a row for each run that is
    assert owed.id in [found.id for found in journal.outbox()]


def test_a_journal_of_version_1_is_taken_over_with_what_is_in_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with sqlite3.connect(state / "state.db") as database:
        database.executescript(_VERSION_1)
        for number in range(3):
            database.execute(
                "INSERT INTO run (id, origin, caller, type, payload, state, outcome) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (str(number), "local", "{}", "ECHO", "{}", "finished", b"{}" if number else None),
            )
            database.execute(
                "INSERT INTO change (run_id, seq, path, undone) VALUES (?, 1, '/x', ?)", (str(number), number == 1)
            )
    journal = Journal(str(state))
    assert [found.id for found in journal.latest(9)] == ["2", "1", "0"]
    assert journal.verify().whole
    assert journal.verify().rows == 3
    journal.mark_change("0", 1, undone=True)
    assert Journal(str(state)).verify().whole
    journal._write("UPDATE run SET outcome = x'00' WHERE id = '2'")
    assert journal.verify().bad_run == "2"


_BUSY = """
import itertools, sys
from letsbe.agent.journal import Journal
from letsbe.agent.journal_rows import ChangeRow
from tests.test_agent.test_journal import outcome, run
journal = Journal(sys.argv[1])
for number in itertools.count():
    row = run()
    journal.start(row)
    change = ChangeRow(run_id=row.id, seq=0, step="", path="/x", before_sha256=None, after_sha256="0", mode=None,
                       uid=None, gid=None, temporary=None, done=0, undone=0)
    journal.mark_change(row.id, journal.add_change(change), undone=True)
    journal.finish(row.id, outcome(row.id))
    if number == 0:
        print("begun", flush=True)
"""


def test_kill_9_at_any_moment_leaves_it_whole(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    rows = 0
    for number in range(6):
        child = subprocess.Popen([sys.executable, "-c", _BUSY, state], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.02 + 0.013 * number)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        journal = Journal(state)
        verdict = journal.verify()
        journal.close()
        assert verdict.whole, verdict.reason
        assert verdict.rows > rows
        rows = verdict.rows


def test_reading_writes_no_row(journal: Journal, agent: Agent) -> None:
    before = journal.head()
    assert agent.run("FILE_INSPECT", {"path": f"{agent.root}/x", "mode": "head"}).success
    agent.cli("status")
    agent.cli("history", "--verify")
    assert journal.head() == before


def test_export_gives_every_run_on_a_line_of_its_own(journal: Journal, agent: Agent) -> None:
    lines = [json.loads(line) for line in agent.cli("history", "--export").stdout.splitlines()]
    assert [line["id"] for line in lines] == [found.id for found in reversed(journal.latest(100))]
    assert lines[0]["changes"][0]["path"] == f"{agent.root}/x"
    assert lines[0]["outcome"]["type"] == "FILE_WRITE"
    assert agent.cli("history", "--export", "--verify").returncode == 2


def test_export_holds_one_run_at_a_time(journal: Journal) -> None:
    exported = journal.export()
    next(exported)
    other = Journal(journal.state_dir)
    other.start(run())  # the export does not keep others from writing
    other.close()
    exported.close()  # type: ignore[attr-defined]
    journal.remember("after", "an export that was broken off")
