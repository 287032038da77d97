"""``letsbe-orchestrator`` as a person or a script runs it."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from letsbe.orchestrator.tables import tasks
from letsbe.orchestrator.views import list_tasks
from letsbe.protocol import epoch
from tests.orchestrator_fixture import Orchestrator, run
from tests.test_orchestrator.fake_agent import add_agent, outcome, registered


def test_init_makes_a_private_home_and_says_where_the_ca_is(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    done = run("init", "--home", str(home), "--port", "9443", "--san", "orch.example")
    assert done.returncode == 0, done.stderr
    assert f"Agents need {home}/ca.pem" in done.stdout
    assert home.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in home.iterdir()} == {0o600}
    assert "port: 9443" in (home / "orchestrator.yml").read_text()


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("init", "--home", str(home))
    before = {file.name: file.read_bytes() for file in home.iterdir() if file.suffix != ".db"}
    done = run("init", "--home", str(home))
    assert done.returncode == 0
    assert "everything is there already" in done.stdout
    assert {file.name: file.read_bytes() for file in home.iterdir() if file.suffix != ".db"} == before


def test_init_completes_a_home_that_lacks_something(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("init", "--home", str(home))
    public = (home / "signing.pub").read_bytes()
    for name in ("signing.pub", "server.pem", "orchestrator.db"):
        (home / name).unlink()
    assert run("init", "--home", str(home)).returncode == 0
    assert (home / "signing.pub").read_bytes() == public
    assert run("tasks", "--home", str(home)).stdout == "[]\n"


@pytest.fixture
def place(home: Orchestrator) -> Path:
    return home.path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tasks", "--home", "/nonexistent"], 1, "/nonexistent is no orchestrator home"),
        (["submit", "ECHO", "{}", "--agent", "nobody"], 1, "no agent 'nobody'"),
        (["submit", "ECHO", "{", "--agent", "web-1"], 2, "the payload is no JSON"),
        (["submit", "ECHO", "{}", "--agent", "web-1", "--requested-by", "al\nice"], 2, "the name of who asks"),
        (["submit", "ECHO", '{"a": tru}', "--agent", "web-1"], 2, "(byte 10)"),
        (["submit", "ECHO", "[]", "--agent", "web-1"], 2, "the payload is JSON, but not an object"),
        (["submit", "ECHO", "@/nonexistent.json", "--agent", "web-1"], 1, "/nonexistent.json: No such file"),
        (["submit", "ECHO", "-", "--agent", "web-1"], 2, "standard input is no JSON"),
        (["submit", "EC HO", "{}", "--agent", "web-1"], 2, "'EC HO' is no task type"),
        (["submit", "ECHO", "{}", "--agent", "web-1", "--timeout", "2d"], 2, "more than a day"),
        (["submit", "ECHO", "{}", "--agent", "web-1", "--expires", "soon"], 2, "'soon' is neither"),
        (["submit", "ECHO", "{}", "--agent", "x", "--expires", "1h", "--not-before", "2h"], 2, "before it may begin"),
        (["submit", "ECHO", "{}", "--agent", "x", "--expires", "2020-01-01T00:00:00Z"], 2, "before it may begin"),
        (["submit", "ECHO", "{}", "--all", "--label", "a=b"], 2, "one of --agent, --label and --all"),
        (["submit", "ECHO", "{}", "--all"], 1, "there are no agents"),
        (["submit", "ECHO", "{}", "--label", "a=b", "--label", "c=d"], 1, "no agent is labelled a=b c=d"),
        (["agents", "--not-seen", "long"], 2, "'long' is no time span"),
        (["tasks", "--until-ended"], 2, "--until-ended goes with --watch"),
        (["submit", "ECHO", "{}"], 2, "one of --agent, --label and --all"),
        (["show", "nothing"], 1, "no task nothing"),
        (["cancel", "nothing"], 1, "no task nothing"),
        (["enrol", "--expires", "0s"], 2, "'0s' is no time span"),
        (["enrol", "--label", "north"], 2, "'north' is not key=value"),
        (["serve", "--plain-http", "--host", "0.0.0.0"], 1, "plain http is served to loopback only"),
        (["serve", "--host", "192.0.2.1"], 1, "can't listen on 192.0.2.1"),
        (["init", "--port", "1"], 2, "already says port: 0, not 1"),
        (["init", "--san", "b\u00fccher.example"], 2, "no certificate for"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(place: Path, arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments, LETSBE_ORCHESTRATOR_HOME=str(place))
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prot: 1\n", "unknown field `prot`"),
        ("port: high\n", "$.port"),
        ("port: [\n", "line 2"),
        ("lease_s: 10\n", "$.lease_s"),
        ("database: nonsense\n", "the database URL can't be used"),
        ("database: sqlite:////nonexistent/x.db\n", "unable to open database file"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(place: Path, content: str, message: str) -> None:
    (place / "orchestrator.yml").write_text(content)
    done = run("tasks", "--home", str(place))
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_of_another_version_is_left_alone(home: Orchestrator) -> None:
    with home.database() as connection:
        connection.exec_driver_sql("UPDATE schema_info SET version = 99")
    for command in (["tasks"], ["init"], ["serve", "--port", "0"]):
        done = home.run(*command)
        assert done.returncode == 1
        assert "tables of version 99" in done.stderr


def test_a_home_that_others_can_open_is_refused(place: Path) -> None:
    place.chmod(0o750)
    done = run("tasks", "--home", str(place))
    assert (done.returncode, done.stdout) == (2, "")
    assert "open to others (mode 0750)" in done.stderr
    assert f"chmod go= {place}" in done.stderr


def test_a_signing_key_that_others_can_read_is_refused(home: Orchestrator) -> None:
    add_agent(home)
    (home.path / "signing.key").chmod(0o644)
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "signing.key is open to others" in done.stderr


def test_enrol_prints_the_token_alone(home: Orchestrator) -> None:
    done = home.run("enrol", "--label", "site=north")
    assert done.stdout.startswith("lbe_")
    assert len(done.stdout.split()) == 1
    assert done.stderr == ""


def test_enrol_as_json(home: Orchestrator) -> None:
    done = json.loads(home.run("enrol", "--expires", "2h", "--label", "a=b=c", "--output", "json").stdout)
    assert done["token"].startswith("lbe_")
    assert done["labels"] == {"a": "b=c"}
    assert epoch(done["expires_at"]) > 0


@pytest.mark.parametrize("source", ["argument", "file", "stdin"])
def test_submit_prints_the_task_id_and_show_tells_about_it(home: Orchestrator, tmp_path: Path, source: str) -> None:
    agent_id = add_agent(home)
    text = '{"message": "h\u00e9llo"}'
    (tmp_path / "payload.json").write_text(text)
    payload = {"argument": text, "file": f"@{tmp_path}/payload.json", "stdin": "-"}[source]
    done = home.run("submit", "echo", payload, "--agent", "web-1", "--check", "--timeout", "1m", stdin=text)
    assert done.returncode == 0, done.stderr
    task_id = done.stdout.strip()

    shown = json.loads(home.run("show", task_id, "--payload").stdout)
    assert (shown["task_id"], shown["agent_id"], shown["hostname"]) == (task_id, agent_id, "web-1")
    assert (shown["type"], shown["state"], shown["check"], shown["timeout_s"]) == ("ECHO", "waiting", True, 60)
    assert shown["payload"] == {"message": "h\u00e9llo"}
    assert shown["requested_by"]
    assert json.loads(home.run("show", task_id).stdout)["payload"] is None
    assert [task["task_id"] for task in json.loads(home.run("tasks", "--agent", agent_id).stdout)] == [task_id]
    assert json.loads(home.run("tasks", "--state", "finished").stdout) == []


@pytest.mark.parametrize(("levels", "said"), [(64, ""), (65, "nested deeper than 64 levels"), (5_000, "no JSON")])
def test_a_payload_that_agents_would_refuse_is_not_submitted(home: Orchestrator, levels: int, said: str) -> None:
    add_agent(home)
    text = '{"a":' * levels + "1" + "}" * levels
    done = home.run("submit", "echo", "-", "--agent", "web-1", stdin=text)
    assert (done.returncode == 0) == (not said)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_type_that_the_agent_did_not_name_is_warned_of_and_submitted(home: Orchestrator) -> None:
    add_agent(home)
    done = home.run("submit", "APT_UPDATE", "{}", "--agent", "web-1")
    assert done.returncode == 0
    assert "the agent did not name APT_UPDATE" in done.stderr


def test_an_ambiguous_host_name_lists_the_agents(home: Orchestrator) -> None:
    ids = [add_agent(home), add_agent(home)]
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1")
    assert done.returncode == 1
    assert all(agent_id in done.stderr for agent_id in ids)


def test_a_host_name_that_is_the_id_of_another_agent_takes_nothing_from_it(home: Orchestrator) -> None:
    victim = add_agent(home)
    add_agent(home, victim)
    done = home.run("submit", "ECHO", '{"message": "x"}', "--agent", victim, "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agent_id"] == victim


def test_a_payload_past_the_limit_is_refused(home: Orchestrator) -> None:
    add_agent(home)
    done = home.run("submit", "ECHO", "-", "--agent", "web-1", stdin='{"a": "' + "x" * 9_000_000 + '"}')
    assert (done.returncode, done.stdout) == (2, "")
    assert "more than 8388608 bytes" in done.stderr


def test_cancel_ends_a_waiting_task_once(home: Orchestrator) -> None:
    task_id = home.submit("ECHO", agent=add_agent(home))
    assert json.loads(home.run("cancel", task_id).stdout) == {"task_id": task_id, "state": "cancelled"}
    again = home.run("cancel", task_id)
    assert again.returncode == 1
    assert "is cancelled already" in again.stderr


def test_cancel_says_when_a_lapsed_task_ends_without_its_agent(home: Orchestrator) -> None:
    task_id = home.submit("ECHO", agent=add_agent(home), timeout_s=90)
    with home.database() as connection:
        connection.execute(update(tasks).values(state="lapsed", expires_at=epoch("2096-11-23T10:00:00Z")))
    done = home.run("cancel", task_id, "--output", "text")
    assert "without one it ends at 2096-11-23T10:01:30Z" in done.stdout


def test_waiting_ends_with_124_and_the_task_goes_on(home: Orchestrator) -> None:
    add_agent(home)
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1", "--wait", "0.2")
    assert (done.returncode, done.stdout) == (124, "")
    (task,) = json.loads(home.run("tasks").stdout)
    assert f"task {task['task_id']} is waiting after 0.2 s" in done.stderr


def test_waiting_for_a_task_that_expires_ends_with_1(home: Orchestrator) -> None:
    add_agent(home)
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1", "--expires", "1s", "--wait", "20")
    assert (done.returncode, done.stdout) == (1, "")
    assert "expired before the agent took it" in done.stderr


def test_waiting_for_a_task_that_is_cancelled_ends_with_130(home: Orchestrator) -> None:
    agent_id = add_agent(home)

    def cancel() -> None:
        while True:
            with home.store.read() as connection:
                found = list_tasks(connection, agent_id=agent_id)
            if found:
                home.cancel(found[0].task_id)
                return
            time.sleep(0.02)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    done = home.run("submit", "ECHO", "{}", "--agent", "web-1", "--wait", "20")
    canceller.join()
    assert (done.returncode, done.stdout) == (130, "")
    assert "was cancelled before the agent took it" in done.stderr


def error(code: str) -> dict[str, object]:
    return {"code": code, "message": "m", "hint": "h", "details": {}}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"status": "failed", "success": False, "error": error("container_missing")}, 1),
        ({"status": "failed", "success": False}, 1),
        ({"status": "failed", "success": False, "error": error("invalid_payload")}, 2),
        ({"status": "refused", "success": False, "error": error("policy_denied")}, 4),
        ({"status": "failed", "success": False, "error": error("busy")}, 5),
        ({"status": "timed_out", "success": False, "error": error("timed_out")}, 124),
        ({"status": "cancelled", "success": False, "error": error("cancelled")}, 130),
    ],
)
def test_wait_prints_the_outcome_and_exits_as_it_did(
    shared_orchestrator: Orchestrator, changes: dict[str, object], code: int
) -> None:
    agent = registered(shared_orchestrator)

    def work() -> None:
        while not (offers := agent.offers()):
            pass
        task_id, attempt_id = offers[0]["task_id"], offers[0]["attempt_id"]
        agent.claim(task_id, attempt_id)
        agent.result(task_id, attempt_id, outcome(task_id, **changes))

    worker = threading.Thread(target=work)
    worker.start()
    done = shared_orchestrator.run("submit", "ECHO", "{}", "--agent", agent.agent_id, "--wait", "20")
    worker.join()
    assert done.returncode == code, done.stderr
    printed = json.loads(done.stdout)
    assert printed == outcome(printed["task_id"], **changes)


def test_drawn_for_a_person(home: Orchestrator) -> None:
    assert "`letsbe-orchestrator enrol`" in home.run("agents", "--output", "text").stdout
    assert home.run("tasks", "--output", "text").stdout == "No tasks.\n"
    agent_id = add_agent(home)
    task_id = home.submit("ECHO", agent=agent_id, check=True)
    drawn = home.run("agents", "--output", "text").stdout
    assert agent_id in drawn
    assert "never" in drawn
    drawn = home.run("tasks", "--output", "text").stdout
    assert task_id in drawn
    assert "ECHO (check)" in drawn
    assert "cancelled" in home.run("cancel", task_id, "--output", "text").stdout


def test_an_outcome_can_not_command_the_terminal(shared_orchestrator: Orchestrator) -> None:
    agent = registered(shared_orchestrator)
    shared_orchestrator.submit("ECHO", agent=agent.agent_id)
    task_id, attempt_id = agent.take()
    hostile = {"message": "\x1b]0;owned\x07 \x9b31m [bold]x[/bold]", "\x1b[2J:x:": "\u202ey"}
    agent.result(task_id, attempt_id, outcome(task_id, data=hostile, type="E\x1b[2J"))
    drawn = shared_orchestrator.run("show", task_id, "--output", "text").stdout
    assert not any(control in drawn for control in "\x1b\x07\x9b")
    assert r"\x1b]0;owned\x07 \x9b31m [bold]x[/bold]" in drawn
    assert re.search(r"\\x1b\[2J:x: +\\u202ey", drawn)


def test_every_command_has_its_help() -> None:
    listed = run("--help").stdout
    for command in (
        "init",
        "migrate",
        "prune",
        "serve",
        "enrol",
        "agents",
        "submit",
        "tasks",
        "show",
        "cancel",
        "openapi",
    ):
        assert f"  {command} " in listed
        help_text = run(command, "--help").stdout
        assert help_text.startswith(f"Usage: letsbe-orchestrator {command}")


def test_plain_http_is_served_to_loopback_when_asked_for(home: Orchestrator) -> None:
    home.start("--plain-http")
    assert home.url.startswith("http://127.0.0.1:")
    assert requests.get(f"{home.url}/schema/openapi.json", timeout=10).status_code == 200


def test_serve_says_that_the_port_is_taken(shared_orchestrator: Orchestrator) -> None:
    done = shared_orchestrator.run("serve", "--port", shared_orchestrator.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
