"""SQLite and PostgreSQL: making the tables, bringing older ones up to date, and a server that goes away."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from letsbe.errors import LetsbeError
from letsbe.orchestrator import migrations
from letsbe.orchestrator.migrations import migrate
from letsbe.orchestrator.store import Store
from letsbe.orchestrator.tables import SCHEMA_VERSION, metadata
from tests.orchestrator_fixture import NewDatabase, Orchestrator, prepared
from tests.postgres import Postgres, running
from tests.test_orchestrator.fake_agent import FakeAgent, outcome, problem, registered
from tests.test_orchestrator.version_1 import AGENT, TASK, TOKEN, make_version_1


def tables(connection: Connection) -> dict[str, object]:
    """What there is, column by column and index by index."""
    found = inspect(connection)
    return {
        name: (
            {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(name)
            },
            sorted((str(index["name"]), tuple(index["column_names"])) for index in found.get_indexes(name)),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(tuple(key["constrained_columns"]) for key in found.get_foreign_keys(name)),
        )
        for name in sorted(found.get_table_names())
    }


@pytest.fixture
def old(home: Orchestrator) -> Orchestrator:
    """An orchestrator with the tables and the data of version 1."""
    with home.database() as connection:
        metadata.drop_all(connection)
        make_version_1(connection)
    return home


def test_older_tables_are_brought_up_to_date_with_what_is_in_them(
    old: Orchestrator, either_database: NewDatabase, tmp_path: Path
) -> None:
    done = old.run("migrate")
    assert (done.returncode, done.stdout) == (0, f"migrated tables of version 1 to version {SCHEMA_VERSION}\n")
    with (
        prepared(tmp_path / "fresh", either_database) as fresh,
        fresh.store.read() as made,
        old.store.read() as migrated,
    ):
        assert tables(migrated) == tables(made)

    assert old.task(TASK).state == "finished"
    assert old.outcome(TASK) == outcome(TASK)
    old.start()
    agent = FakeAgent(old)
    agent.agent_id, agent.token = AGENT, TOKEN
    old.submit("ECHO", agent=AGENT)
    agent.take()
    assert "is of version" in old.run("migrate").stdout


def test_nothing_but_init_and_migrate_works_on_older_tables(old: Orchestrator) -> None:
    for command in (["serve", "--port", "0"], ["tasks"]):
        done = old.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "holds tables of version 1" in done.stderr
        assert "letsbe-orchestrator migrate" in done.stderr
    assert "migrated tables of version 1" in old.run("init").stdout
    assert old.run("tasks").returncode == 0


def test_a_migration_that_fails_leaves_the_old_tables(old: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    with old.store.read() as connection:
        before = tables(connection)

    def fail(connection: Connection) -> None:
        raise RuntimeError

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, fail))
    with pytest.raises(RuntimeError):
        migrate(old.store)
    with old.store.read() as connection:
        assert tables(connection) == before
    assert old.store.version() == 1


def test_two_migrations_at_once_do_it_once(old: Orchestrator) -> None:
    stores = [Store(old.home.database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = sorted(migration.before or 0 for migration in pool.map(migrate, stores))
    assert found == [1] + [SCHEMA_VERSION] * 3
    for store in stores:
        store.close()


def test_there_is_a_step_for_every_version() -> None:
    assert len(migrations.STEPS) == SCHEMA_VERSION - 1


def test_init_takes_a_database_once(postgres: Postgres, home: Orchestrator, tmp_path: Path) -> None:
    with postgres.database() as url:
        place = str(tmp_path / "another")
        done = home.run("init", "--home", place, "--database", url)
        assert done.returncode == 0, done.stderr
        assert f"made     tables of version {SCHEMA_VERSION}" in done.stdout
        assert home.run("init", "--home", place, "--database", url).returncode == 0
        done = home.run("init", "--home", place, "--database", "postgresql+psycopg://u:secret@other/db")
        assert (done.returncode, done.stdout) == (2, "")
        assert "already says database" in done.stderr
        assert "secret" not in done.stderr
        assert json.loads(home.run("tasks", "--home", place).stdout) == []
        assert not (tmp_path / "another" / "orchestrator.db").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database URL can't be used"),
        ("mysql://u@h/db", "mysql is neither sqlite nor postgresql+psycopg"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/db", "onnection refused"),
    ],
    ids=["no URL", "another program", "nobody there"],
)
def test_a_database_that_can_not_be_used_is_named(home: Orchestrator, tmp_path: Path, url: str, message: str) -> None:
    done = home.run("init", "--home", str(tmp_path / "another"), "--database", url)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_server_that_is_restarted_costs_a_503_and_no_more(tmp_path: Path) -> None:
    with running() as server, server.database() as url:
        orchestrator = Orchestrator(tmp_path / "orchestrator", url)
        try:
            orchestrator.start()
            agent = registered(orchestrator)
            agent.poll()
            task_id, attempt_id = orchestrator.submit("ECHO", agent=agent.agent_id), ""
            server.stop()
            answers = [agent.poll(), agent.claim(task_id, agent.agent_id), agent.result(task_id, task_id, b"{}")]
            for answer in answers:
                assert problem(answer) == (503, "about:blank")
                assert int(answer.headers["retry-after"]) > 0
                assert str(server.directory) not in answer.text
            with pytest.raises(LetsbeError, match="not reachable") as raised:
                orchestrator.task(task_id)
            assert raised.value.code == "database_unavailable"
            assert "database" in orchestrator.run("tasks").stderr
            server.start()
            # At once and with no 503: connections that the crash has closed are found out before they are used.
            task_id, attempt_id = agent.take()
            assert agent.result(task_id, attempt_id, outcome(task_id)).status_code == 200
            assert orchestrator.outcome(task_id) == outcome(task_id)
            assert "Traceback" not in orchestrator.log()
        finally:
            orchestrator.close()


def test_a_request_in_the_middle_of_which_the_server_goes_is_answered_with_503(tmp_path: Path) -> None:
    with running() as server, server.database() as url:
        orchestrator = Orchestrator(tmp_path / "orchestrator", url)
        try:
            orchestrator.start()
            agent = registered(orchestrator)
            agent.poll()
            answers = []
            # The activity is asked for beside the transaction, which would go on seeing what it saw first.
            with orchestrator.store.engine.connect() as blocker, orchestrator.store.read() as observer:
                blocker.execute(text("LOCK TABLE agents"))
                polling = threading.Thread(target=lambda: answers.append(agent.poll()))
                polling.start()
                waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                while not observer.scalar(waiting):
                    assert polling.is_alive()
                    time.sleep(0.01)
                server.stop()
                polling.join()
                blocker.invalidate()
                observer.invalidate()
            server.start()
            assert problem(answers[0]) == (503, "about:blank")
            assert agent.poll().status_code == 200
        finally:
            orchestrator.close()
