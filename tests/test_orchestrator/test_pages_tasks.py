"""What the pages show and do, over real TLS, with what a hostile agent sends and with a real agent that polls."""

from __future__ import annotations

import html
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, update

from letsbe.orchestrator import views
from letsbe.orchestrator.tables import agents, tasks
from letsbe.protocol import new_id
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect
from tests.test_orchestrator.fake_agent import FakeAgent, outcome, registered
from tests.test_orchestrator.visitor import Visitor, logged_in, text_of

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&\u202egnp.exe\x1b[2J"


@pytest.fixture
def agent(paged: Orchestrator) -> FakeAgent:
    """An agent that speaks by hand."""
    return registered(paged)


def no_markup_of_theirs(text: str) -> bool:
    return not any(part in text for part in ("<script", "<img", "\u202e", "\x1b"))


def test_agents_are_listed_with_what_is_wrong_with_them(paged: Orchestrator, visitor: Visitor) -> None:
    silent = FakeAgent(paged, "db-7")
    assert silent.register(paged.enrol(labels={"site": "berlin"})).status_code == 201
    assert "db-7 never" in text_of(visitor.get("/"))
    task = paged.submit("ECHO", agent=silent.agent_id)
    silent.poll(max_tasks=0)
    claimed = silent.take()
    silent.result(*claimed, outcome(task, status="failed", success=False))
    hold = {"reason": "disk swap", "until": "2026-12-01T10:00:00Z"}
    silent.poll(hold=hold, outbox_depth=7)
    shown = text_of(visitor.get("/"))
    assert "site=berlin disk swap , until 2026-12-01T10:00:00Z 1 of the last 5 7" in shown
    one = text_of(visitor.get(f"/agents/{silent.agent_id}"))
    for part in ("db-7", "s ago", "disk swap", "ECHO", "FILE_WRITE", "failed"):
        assert part in one
    assert "Journal" not in one
    for seq in (7, 6):
        silent.poll(journal={"seq": seq, "hash": "ab" * 32})
    assert "Journal rewritten or put back , seen" in text_of(visitor.get(f"/agents/{silent.agent_id}"))


def test_what_an_agent_says_is_shown_and_never_obeyed(paged: Orchestrator, visitor: Visitor) -> None:
    hostile = FakeAgent(paged, HOSTILE)
    assert hostile.register(paged.enrol(), executors={"ECHO": 1}).status_code == 201
    task_id = paged.submit("ECHO", agent=hostile.agent_id)
    claimed = hostile.take()
    running = {"task_id": claimed[0], "attempt_id": claimed[1], "step": HOSTILE, "message": HOSTILE, "tail": HOSTILE}
    hostile.poll(running=[running], hold={"reason": HOSTILE[:200], "until": "<b>2026"})
    assert "alert('x')" in text_of(visitor.get(f"/tasks/{task_id}"))
    error = {"code": HOSTILE, "message": HOSTILE, "hint": HOSTILE, "details": {HOSTILE: [HOSTILE]}}
    data = {HOSTILE: {HOSTILE: HOSTILE}, "rows": [{HOSTILE: HOSTILE}, {"b": 1}], "many": f"{HOSTILE}\n" * 40}
    told = outcome(task_id, status="failed", success=False, error=error, warnings=[HOSTILE], data=data, type=HOSTILE)
    assert hostile.result(*claimed, told).status_code == 200
    for path in ("/", "/tasks", f"/agents/{hostile.agent_id}", f"/tasks/{task_id}", f"/submit/{hostile.agent_id}/ECHO"):
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert no_markup_of_theirs(answer.text), path
        assert "&lt;script&gt;alert(&#39;x&#39;)" in answer.text


def test_an_outcome_without_end_is_cut_and_the_raw_one_is_whole(agent: FakeAgent, visitor: Visitor) -> None:
    task_id = agent.orchestrator.submit("ECHO", agent=agent.agent_id)
    deep: object = "the bottom"
    for _ in range(200):
        deep = {"a": deep}
    claimed = agent.take()
    data = {"deep": deep, "wide": list(range(20_000)), "rows": [{"a": 1, "b": 2}] * 5_000}
    assert agent.result(*claimed, outcome(task_id, data=data)).status_code == 200
    answer = visitor.get(f"/tasks/{task_id}")
    assert answer.status_code == 200
    assert answer.text.count("<li>") < 5_000
    assert "more, in the raw JSON" in answer.text
    assert "the bottom" in answer.text


def test_tasks_are_filtered_and_paged(paged: Orchestrator, visitor: Visitor) -> None:
    mine = registered(paged, "pager")
    ids = [paged.submit("ECHO" if number % 2 else "FILE_WRITE", agent=mine.agent_id) for number in range(52)]
    first = visitor.get("/tasks?agent=pager")
    assert [task_id in first.text for task_id in ids] == [False] * 2 + [True] * 50
    assert f"before={ids[2]}" in first.text
    second = visitor.get(f"/tasks?agent=pager&before={ids[2]}")
    assert [task_id in second.text for task_id in ids] == [True] * 2 + [False] * 50
    assert ids[1] not in visitor.get("/tasks?agent=pager&type=FILE_WRITE").text
    assert "No such tasks" in visitor.get("/tasks?agent=pager&state=finished").text
    assert "no agent" in text_of(visitor.get("/tasks?agent=nobody"))


def test_the_payload_is_shown_only_when_asked_for(agent: FakeAgent, visitor: Visitor) -> None:
    task_id = agent.orchestrator.submit("ECHO", {"message": "hunter2"}, agent=agent.agent_id)
    assert "hunter2" not in visitor.get(f"/tasks/{task_id}").text
    assert "hunter2" in visitor.get(f"/tasks/{task_id}?payload=true").text


def test_a_task_is_cancelled_after_a_question(agent: FakeAgent, visitor: Visitor) -> None:
    task_id = agent.orchestrator.submit("ECHO", agent=agent.agent_id)
    assert "it will not be run" in text_of(visitor.get(f"/tasks/{task_id}/cancel"))
    assert agent.orchestrator.task(task_id).state == "waiting"
    form = {"form_token": visitor.token()}
    assert visitor.post(f"/tasks/{task_id}/cancel", form).headers["location"] == f"/tasks/{task_id}"
    assert agent.orchestrator.task(task_id).state == "cancelled"
    assert visitor.post(f"/tasks/{task_id}/cancel", form).status_code == 410
    assert "nothing to cancel" in text_of(visitor.get(f"/tasks/{task_id}/cancel"))


def test_a_submitted_task_is_run_by_a_real_agent_and_its_outcome_shown(
    paged: Orchestrator, visitor: Visitor, tmp_path: Path
) -> None:
    real = Agent(tmp_path)
    connect(real, paged)
    assert real.cli("poll").returncode == 0
    path = f"/submit/{agent_id(real)}/FILE_WRITE"
    target = real.root / "page.txt"
    fields = {"payload.path": str(target), "payload.content": "one\r\ntwo\r\n", "payload.mode": ""}
    sent = visitor.post(path, visitor.form(path, **fields))
    assert sent.status_code == 303, text_of(sent)
    assert real.cli("poll").returncode == 0
    assert target.read_text() == "one\ntwo\n"
    shown = text_of(visitor.get(sent.headers["location"]))
    assert "succeeded , changed things" in shown
    assert "admin (page)" in shown


def test_check_mode_and_the_times_are_those_of_the_form(agent: FakeAgent, visitor: Visitor) -> None:
    path = f"/submit/{agent.agent_id}/ECHO"
    form = visitor.form(path, check="yes", timeout="90s", expires="2h", not_before="1h", **{"payload.probe": "yes"})
    sent = visitor.post(path, form)
    assert sent.status_code == 303, text_of(sent)
    task = agent.orchestrator.task(form["task_id"])
    assert (task.check, task.timeout_s, task.requested_by) == (True, 90, "admin (page)")
    assert task.not_before > task.created_at
    assert "&#34;probe&#34;: true" in visitor.get(f"/tasks/{form['task_id']}?payload=true").text


def test_the_same_form_sent_twice_makes_one_task(agent: FakeAgent, visitor: Visitor) -> None:
    path = f"/submit/{agent.agent_id}/ECHO"
    form = visitor.form(path, **{"payload.message": "once"})
    tokens = [logged_in(agent.orchestrator) for _ in range(2)]
    forms = [{**form, "form_token": one.token()} for one in tokens]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: pair[0].post(path, pair[1]), zip(tokens, forms, strict=True)))
    assert [answer.status_code for answer in answers] == [303, 303]
    again = visitor.post(path, form)
    assert again.headers["location"] == f"/tasks/{form['task_id']}?sent=before"
    assert "no other was made" in text_of(visitor.get(again.headers["location"]))
    assert len(agent.offers()) == 1


@pytest.mark.parametrize(
    ("task_type", "fields", "field", "reason"),
    [
        ("ENV_UPDATE", {"payload.unset": "KEPT"}, "payload.path", "is required"),
        ("FILE_INSPECT", {"payload.path": "/x", "payload.max_bytes": "1"}, "payload.max_bytes", "must be at least 4"),
        ("FILE_INSPECT", {"payload.path": "/x", "payload.lines": "many"}, "payload.lines", "is no integer"),
        ("FILE_INSPECT", {"payload.path": "/x", "payload.mode": "eat"}, "payload.mode", "must be one of"),
        ("SHELL", {"payload.argv": "x" * 4097}, "payload.argv", "[0] must have at most 4096"),
        ("SHELL", {"payload.argv": "df", "payload.env": "{"}, "payload.env", "is no JSON"),
        ("SHELL", {"payload.argv": "df", "payload.env": '{"A": 1}'}, "payload.env", "A must be of type string"),
        ("ECHO", {"timeout": "soon"}, "timeout", "is no time span"),
        ("ECHO", {"timeout": "2d"}, "timeout", "At most 1d"),
        ("ECHO", {"expires": "yesterday"}, "expires", "is neither an instant"),
        ("ECHO", {"not_before": "x"}, "not_before", "is neither an instant"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_beside_its_field_and_the_input_kept(
    agent: FakeAgent, visitor: Visitor, task_type: str, fields: dict[str, str], field: str, reason: str
) -> None:
    path = f"/submit/{agent.agent_id}/{task_type}"
    answer = visitor.post(path, visitor.form(path, **fields))
    assert answer.status_code == 400
    beside = answer.text.partition(f'id="{field}-error">')[2].partition("<")[0]
    assert reason in beside.replace("&#39;", "'")
    assert f'href="#{field}"' in answer.text
    for value in fields.values():
        assert value[:50].replace('"', "&#34;") in answer.text
    assert agent.offers() == []


def test_an_agent_with_another_version_of_the_type_gets_its_payload_as_json(agent: FakeAgent, visitor: Visitor) -> None:
    path = f"/submit/{agent.agent_id}/FILE_WRITE"  # it said version 3
    answer = visitor.get(path)
    assert "whole payload as a JSON object" in answer.text
    assert visitor.post(path, visitor.form(path, json="[]")).status_code == 400
    sent = visitor.post(path, visitor.form(path, json=json.dumps({"new": True})))
    assert sent.status_code == 303
    assert len(agent.offers()) == 1
    assert visitor.get(f"/submit/{agent.agent_id}/NO_SUCH").status_code == 404


def test_without_the_signing_key_the_page_says_so_and_submits_nothing(agent: FakeAgent, visitor: Visitor) -> None:
    path = f"/submit/{agent.agent_id}/ECHO"
    form = visitor.form(path)
    key = Path(agent.orchestrator.home.signing_key)
    content = key.read_bytes()
    key.unlink()
    try:
        assert "No task can be signed here" in text_of(visitor.get(path))
        assert "No task can be signed here" in text_of(visitor.get("/submit"))
        assert visitor.post(path, form).status_code == 400
        assert agent.offers() == []
    finally:
        key.write_bytes(content)
        key.chmod(0o600)


def test_the_agent_of_a_new_task_is_named_by_host_or_id(paged: Orchestrator, visitor: Visitor) -> None:
    alone, *twins = (FakeAgent(paged, name) for name in ("alone.example", "twins.example", "twins.example"))
    for one in (alone, *twins):
        assert one.register(paged.enrol()).status_code == 201
    offered = re.findall(r'<option value="([^"]+)"></option>', visitor.get("/submit").text)
    assert {"alone.example", *(twin.agent_id for twin in twins)} <= set(offered)
    assert "twins.example" not in offered
    for name in ("alone.example", alone.agent_id):
        answer = visitor.get(f"/submit?agent={name}&type=ECHO")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/submit/{alone.agent_id}/ECHO")
    answer = visitor.get("/submit?agent=twins.example&type=ECHO")
    assert answer.status_code == 404
    assert all(twin.agent_id in text_of(answer) for twin in twins)
    answer = visitor.get("/submit?agent=nobody&type=SHELL")
    assert "no agent 'nobody'" in text_of(answer)
    assert '<option value="SHELL" selected>' in answer.text


def test_what_is_unknown_is_a_page(visitor: Visitor) -> None:
    for path in (f"/tasks/{new_id()}", f"/agents/{new_id()}", f"/submit/{new_id()}/ECHO"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        *(f"/?{name}=a%00b" for name in ("host", "show", "after")),
        *(f"/tasks?{name}=a%00b" for name in ("agent", "state", "type", "before")),
        *("/submit?agent=a%00b&type=ECHO", "/submit?agent=a&type=a%00b"),
    ],
)
def test_a_query_that_no_database_takes_is_refused(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")


def test_many_agents_come_page_by_page_and_can_be_narrowed(paged: Orchestrator, visitor: Visitor) -> None:
    now = time.time()
    facts = {"fingerprint": "f", "public_key": "k", "version": "1", "executors": {}, "labels": {}, "registered_at": now}
    hold = {"reason": "disk swap", "until": "2026-12-01T10:00:00Z"}
    fleet = [
        {
            **facts,
            "agent_id": new_id(),
            "hostname": "zz-twin" if number in (49, 50) else f"zz-{number:03}",
            "last_seen_at": now - 3600 if number == 3 else now,
            "hold": hold if number == 7 else None,
        }
        for number in range(120)
    ]
    with paged.database() as connection:
        connection.execute(insert(agents), fleet)
        task_id = home_task(connection, str(fleet[119]["agent_id"]))
        connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(state="finished", status="failed"))

    seen: list[list[str]] = []
    path = "/?host=zz-"
    for _ in range(3):
        answer = visitor.get(path)
        seen.append(re.findall(r'scope="row".*?>([\w-]+)</a>', answer.text))
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        path = html.unescape(following[1]) if following else ""
    assert [len(rows) for rows in seen] == [50, 50, 20]
    assert [host for rows in seen for host in rows] == sorted(str(agent["hostname"]) for agent in fleet)
    assert path == ""

    for query, hosts in {
        "host=zz&show=late": ["zz-003"],
        "host=zz&show=hold": ["zz-007"],
        "host=zz&show=failing": ["zz-119"],
        "host=Z-01&show=": [f"zz-01{digit}" for digit in range(10)],
        "host=win": ["zz-twin", "zz-twin"],
        "host=z%25": [],
        "host=zz-007&show=late": [],
    }.items():
        answer = visitor.get(f"/?{query}")
        assert re.findall(r'scope="row".*?>([\w-]+)</a>', answer.text) == hosts, query
        assert ("No such agents." in answer.text) == (not hosts), query
    told = re.search(r"(\d+) agents, (\d+) late", text_of(visitor.get("/")))
    assert told
    assert int(told[1]) >= 120
    assert int(told[2]) == visitor.get("/?show=late").text.count('scope="row"') > 0


def test_both_databases_count_the_newest_outcomes_of_each_agent(home: Orchestrator) -> None:
    facts = {"fingerprint": "f", "public_key": "k", "version": "1", "executors": {}, "labels": {}, "registered_at": 0}
    statuses = {"well": ["failed"] * 3 + ["succeeded"] * 5, "ill": ["failed"] * 6 + ["succeeded", "timed_out"]}
    with home.database() as connection:
        for host, ends in statuses.items():
            connection.execute(insert(agents).values(agent_id=host, hostname=host, **facts))
            for status in ends:
                task_id = home_task(connection, host)
                connection.execute(
                    update(tasks).where(tasks.c.task_id == task_id).values(state="finished", status=status)
                )
        assert views.recent_failures(connection, ["well", "ill"]) == {"ill": 4}


def home_task(connection: Connection, host: str) -> str:
    """A row of a task, as nobody signed it."""
    task_id = new_id()
    moments = {"created_at": 0, "not_before": 0, "expires_at": 0, "timeout_s": 1}
    facts = {"type": "ECHO", "state": "waiting", "check_only": False, "requested_by": "", "envelope": "{}"}
    connection.execute(insert(tasks).values(task_id=task_id, agent_id=host, envelope_bytes=2, **facts, **moments))
    return task_id
