from __future__ import annotations

import json
import os
import time
from base64 import b64decode
from hashlib import sha256
from typing import Any

from letsbe import __version__
from letsbe.agent import identity
from letsbe.agent.condition import examine
from letsbe.agent.config import Config
from letsbe.agent.journal_rows import Run
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome, instant, new_id
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import enrolled

__all__ = ["enrolled"]


def run(origin: str = "orchestrator", **fields: Any) -> Run:
    attempt = new_id() if origin == "orchestrator" else None
    return Run(
        id=new_id(),
        attempt_id=attempt,
        origin=origin,
        caller="{}",
        type="BACKUP",
        payload="{}",
        state="received",
        **fields,
    )


def outcome(of: Run) -> Outcome:
    return Outcome(
        task_id=of.id,
        type=of.type,
        status="succeeded",
        success=True,
        started_at=instant(time.time()),
        duration_ms=1,
        agent_version=__version__,
    )


def test_before_the_first_run_nothing_is_made(agent: Agent) -> None:
    status = agent.json("status")
    assert status["version"] == __version__
    assert status["agent_id"] is None
    assert status["enrolled"] is False
    assert status["exchange"] == {"answered_at": None, "failures": 0, "reason": "", "not_before": None}
    assert not agent.state_dir.exists()


def test_an_enrolled_agent_shows_who_it_is_and_whom_it_believes(polling: Agent) -> None:
    me = identity.load(str(polling.state_dir))
    assert me is not None
    done = polling.cli("status")
    status = json.loads(done.stdout)
    assert status["agent_id"] == me.agent_id
    assert status["enrolled"] is True
    assert status["orchestrator"] == me.url
    assert status["exchange"]["answered_at"]
    assert status["exchange"]["failures"] == 0
    (name, key), *_ = me.trusted_keys.items()
    keyid = sha256(b64decode(key.public_key)).hexdigest()[:16]
    assert status["trusted_keys"] == [
        {"name": name, "keyid": keyid, "executors": ["*"], "paths": None, "source": "pinned"}
    ]
    for secret in (me.agent_token, me.private_key):
        assert secret
        assert secret.encode() not in done.stdout + polling.cli("status", "--output", "text").stdout


def test_configured_keys_stand_in_place_of_pinned_ones(polling: Agent) -> None:
    key = {"public_key": "A" * 43 + "=", "executors": ["ECHO"], "paths": [f"{polling.root}/a"]}
    url = polling.config.orchestrator.url
    polling.configure(orchestrator={"url": url, "trusted_keys": {"admin": key}})
    status = polling.json("status")
    assert status["key_set_version"] is None
    (shown,) = status["trusted_keys"]
    assert (shown["name"], shown["executors"], shown["source"]) == ("admin", ["ECHO"], "configured")
    drawn = " ".join(polling.cli("status", "--output", "text").stdout.decode().split())
    assert f"for ECHO below {polling.root}/a" in drawn


def test_failures_and_the_wait_they_cause_are_told(orchestrator: Orchestrator, enrolled: Agent) -> None:
    orchestrator.stop()
    assert [enrolled.cli("poll").returncode for _ in range(2)] == [1, 1]
    exchange = enrolled.json("status")["exchange"]
    assert exchange["failures"] == 2
    assert "Connection refused" in exchange["reason"]
    assert exchange["not_before"] > instant(time.time())
    text = enrolled.cli("status", "--output", "text").stdout.decode()
    assert "then failed 2 times" in text


def test_tasks_are_told_by_what_becomes_of_them(agent: Agent) -> None:
    journal = agent.journal()
    running, waiting, unsent, parked, dead = run("local"), run(), run(), run(), run("local")
    journal.start(running)
    journal.progress(running.id, "upload", 40, "2 of 5 volumes")
    for task in (waiting, unsent, parked):
        journal.receive(task)
        journal.claimed(task.id)
    for task in (unsent, parked):
        journal.finish(task.id, outcome(task))
    journal.park(parked.id, "HTTP 409: other bytes were reported")
    journal.start(dead)
    journal._write("UPDATE run SET pid_started = 1 WHERE id = ?", dead.id)
    journal.remember("clock_skew_s", "-120")
    journal.close()

    status = agent.json("status")
    (shown,) = status["running"]
    assert (shown["id"], shown["step"], shown["percent"]) == (running.id, "upload", 40)
    assert shown["pid"] == os.getpid()
    assert shown["since"]
    assert [task["id"] for task in status["waiting"]] == [waiting.id]
    assert status["outbox"] == 1
    assert [(task["id"], task["message"]) for task in status["parked"]] == [
        (parked.id, "HTTP 409: other bytes were reported")
    ]
    assert status["clock_skew_s"] == -120

    text = agent.cli("status", "--output", "text").stdout.decode()
    for word in (running.id, waiting.id, parked.id, "2 of 5 volumes", "1 to deliver", "120 s ahead"):
        assert word in text, text


def test_who_may_not_look_is_told_whom_to_ask(agent: Agent) -> None:
    agent.journal().close()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            examine(Config(state_dir=str(agent.state_dir)))
        except LetsbeError as error:
            os._exit(7 if error.code == "state_unusable" and "Run as root" in error.hint else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
