"""Polling, against the real orchestrator over TLS."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, select, update

from letsbe.agent import alarm, breaker, client, identity
from letsbe.agent.locks import Locks, holder_now
from letsbe.agent.poll import Poll
from letsbe.agent.worker import Worker
from letsbe.errors import LetsbeError
from letsbe.orchestrator import signing, submission
from letsbe.orchestrator.tables import results, tasks
from letsbe.orchestrator.tasks import submit, sweep
from letsbe.protocol import MAX_RUNNING, TASK_PAYLOAD_TYPE, Envelope, Signature, Task, instant, new_id, pae
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect


def state_of(agent: Agent, task_id: str) -> str | None:
    journal = agent.journal()
    try:
        run = journal.get(task_id)
    finally:
        journal.close()
    return None if run is None else run.state


@contextmanager
def trickling(head: bytes) -> Iterator[str]:
    """The URL of a server whose answers begin like that, and go on letter by letter for half a minute."""
    stopped = threading.Event()

    class Trickle(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(head)
            with suppress(OSError):
                for _ in range(300):
                    if stopped.wait(0.1):
                        break
                    self.request.sendall(b"a")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickle) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            stopped.set()
            server.shutdown()


def test_task_goes_there_and_its_outcome_comes_back(orchestrator: Orchestrator, enrolled: Agent) -> None:
    task = orchestrator.submit("ECHO", {"message": "over TLS"}, agent=agent_id(enrolled))
    done = enrolled.cli("poll")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["task_id"] == task
    assert outcome["status"] == "succeeded"
    assert outcome["data"]["message"] == "over TLS"
    assert state_of(enrolled, task) == "acked"
    assert list((enrolled.state_dir / "inbox").iterdir()) == []


def test_changes_are_made_once_and_told(orchestrator: Orchestrator, enrolled: Agent) -> None:
    path = enrolled.root / "note"
    task = orchestrator.submit("FILE_WRITE", {"path": str(path), "content": "one\n"}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    assert path.read_text() == "one\n"
    path.write_text("changed by hand\n")
    assert enrolled.cli("poll").returncode == 0
    assert path.read_text() == "changed by hand\n"
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["changed"] is True


def test_check_tasks_change_nothing(orchestrator: Orchestrator, enrolled: Agent) -> None:
    payload = {"path": str(enrolled.root / "note"), "content": "one\n"}
    task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled), check=True)
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert (outcome["check"], outcome["changed"]) == (True, True)
    assert not (enrolled.root / "note").exists()


def test_idle_poll_is_silent_and_asks_once(orchestrator: Orchestrator, enrolled: Agent) -> None:
    before = enrolled.log_file.read_bytes() if enrolled.log_file.exists() else b""
    done = enrolled.cli("poll")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (enrolled.log_file.read_bytes() if enrolled.log_file.exists() else b"") == before


def test_tasks_run_in_the_order_of_their_submission(orchestrator: Orchestrator, enrolled: Agent) -> None:
    path = str(enrolled.root / "log")
    for word in ("one", "two", "three"):
        payload = {"path": path, "content": f"{word}\n", "mode": "append"}
        orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    assert Path(path).read_text() == "one\ntwo\nthree\n"


def test_bad_payload_and_unknown_type_are_reported(orchestrator: Orchestrator, enrolled: Agent) -> None:
    bad = orchestrator.submit("ECHO", {"mesage": "x"}, agent=agent_id(enrolled))
    unknown = orchestrator.submit("NO_SUCH_TYPE", {}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    first, second = orchestrator.outcome(bad), orchestrator.outcome(unknown)
    assert first is not None
    assert second is not None
    assert first["error"]["code"] == "invalid_payload"
    assert (second["status"], second["error"]["code"]) == ("unsupported", "unknown_type")
    assert state_of(enrolled, bad) == state_of(enrolled, unknown) == "acked"


def submit_bytes(orchestrator: Orchestrator, agent: Agent, payload: bytes) -> str:
    """Sign and queue an ECHO whose payload is these bytes, as an orchestrator may that looks at nothing; its id."""
    expires_at = instant(time.time() + 3600)
    task = Task(
        task_id=new_id(), agent_id=agent_id(agent), type="ECHO", created_at=instant(time.time()), expires_at=expires_at
    )
    content = msgspec.json.encode(task)[:-1] + b',"payload":' + payload + b"}"
    signature = signing.load_key(orchestrator.home.signing_key).sign(pae(TASK_PAYLOAD_TYPE, content))
    envelope = Envelope(
        payloadType=TASK_PAYLOAD_TYPE,
        payload=b64encode(content).decode(),
        signatures=[Signature(sig=b64encode(signature).decode())],
    )
    with orchestrator.database() as connection:
        submit(connection, [(task, envelope)])
    return task.task_id


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"a":' * 340 + b"1" + b"}" * 340, "invalid_payload"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "invalid_payload"),
        (b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}", "unsupported_version"),
        (b'{"message":"\xff\xfe"}', "unsupported_version"),
    ],
    ids=["340 objects", "900 objects", "2000 lists", "no UTF-8"],
)
def test_a_task_that_can_not_be_looked_into_is_refused_and_the_next_one_runs(
    orchestrator: Orchestrator, enrolled: Agent, payload: bytes, code: str
) -> None:
    bad = submit_bytes(orchestrator, enrolled, payload)
    good = orchestrator.submit("ECHO", {"message": "behind"}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    refused, done = orchestrator.outcome(bad), orchestrator.outcome(good)
    assert refused is not None
    assert refused["error"]["code"] == code
    assert done is not None
    assert done["success"] is True


def test_a_task_in_the_inbox_of_another_version_is_refused_and_the_next_one_runs(
    orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = orchestrator.submit("ECHO", {"message": "x"}, agent=agent_id(enrolled))
    good = orchestrator.submit("ECHO", {"message": "behind"}, agent=agent_id(enrolled))
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "work", lambda *_: None)
        Poll(enrolled.config).run()
    kept = enrolled.state_dir / "inbox" / other
    believed = json.loads(kept.read_bytes())
    kept.write_text(json.dumps({**believed, "task": {**believed["task"], "of_a_later_version": True}}))
    assert enrolled.cli("poll").returncode == 0
    refused, done = orchestrator.outcome(other), orchestrator.outcome(good)
    assert refused is not None
    assert refused["error"]["code"] == "task_lost"
    assert done is not None
    assert done["success"] is True
    assert "of_a_later_version" in enrolled.log_file.read_text(), "why"


def test_policy_of_the_host_has_the_last_word(orchestrator: Orchestrator, enrolled: Agent) -> None:
    settings = json.loads(json.dumps({"orchestrator": {"deny": ["FILE_WRITE"]}}))
    section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file)}
    enrolled.configure(orchestrator=section, policy=settings)
    payload = {"path": str(enrolled.root / "note"), "content": "x"}
    task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert outcome["status"] == "refused"
    assert not (enrolled.root / "note").exists()


def test_task_of_another_key_is_refused_and_reported(orchestrator: Orchestrator, enrolled: Agent) -> None:
    identity_file = enrolled.state_dir / "identity.json"
    pinned = json.loads(identity_file.read_bytes())
    pinned["trusted_keys"]["main"]["public_key"] = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    identity_file.write_text(json.dumps(pinned))
    payload = {"path": str(enrolled.root / "note"), "content": "x"}
    task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert (outcome["status"], outcome["error"]["code"]) == ("refused", "untrusted_task")
    assert not (enrolled.root / "note").exists()


def test_key_trusted_for_some_executors_can_not_reach_others_through_composite(
    orchestrator: Orchestrator, enrolled: Agent
) -> None:
    me = identity.load(str(enrolled.state_dir))
    assert me is not None
    keys = {"main": {"public_key": me.trusted_keys["main"].public_key, "executors": ["COMPOSITE", "ECHO"]}}
    section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file), "trusted_keys": keys}
    enrolled.configure(orchestrator=section)
    step = {"id": "w", "type": "FILE_WRITE", "payload": {"path": str(enrolled.root / "note"), "content": "x"}}
    task = orchestrator.submit("COMPOSITE", {"steps": [step]}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    outcome = orchestrator.outcome(task)
    assert outcome is not None
    assert (outcome["status"], outcome["error"]["code"]) == ("refused", "policy_denied")
    assert not (enrolled.root / "note").exists()


def test_no_more_are_claimed_than_whose_leases_are_renewed(orchestrator: Orchestrator, enrolled: Agent) -> None:
    section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file)}
    enrolled.configure(orchestrator=section, poll={"max_tasks": 60})
    for number in range(MAX_RUNNING + 10):
        payload = {"path": str(enrolled.root / str(number)), "content": "x"}
        orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    with Locks(str(enrolled.state_dir)).hold({"work"}, holder_now("poll", None)):
        for _ in range(3):
            assert enrolled.cli("poll").returncode == 0
        with orchestrator.database() as connection:
            connection.execute(update(tasks).where(tasks.c.state == "claimed").values(lease_until=0))
        assert enrolled.cli("poll").returncode == 0
    with orchestrator.database() as connection:
        sweep(connection, time.time())
        found = connection.scalars(select(tasks.c.state)).all()
    assert Counter(found) == {"claimed": MAX_RUNNING, "waiting": 10}


class TestPutBack:
    """The orchestrator's database is that of before it gave away the task."""

    @staticmethod
    def put_back(orchestrator: Orchestrator, task: str, *, offered: bool) -> None:
        values = {"finished_at": None, "status": None, "lease_until": None}
        values |= {"state": "offered"} if offered else {"state": "waiting", "attempt_id": None}
        with orchestrator.database() as connection:
            connection.execute(update(tasks).where(tasks.c.task_id == task).values(values))
            connection.execute(delete(results).where(results.c.task_id == task))

    @pytest.mark.parametrize("offered", [True, False], ids=["offered already", "not offered yet"])
    @pytest.mark.parametrize("parked", [True, False], ids=["parked", "acked"])
    def test_what_was_done_is_told_again_not_done_again(
        self, orchestrator: Orchestrator, enrolled: Agent, offered: bool, parked: bool
    ) -> None:
        section = {"url": orchestrator.url, "ca_file": str(orchestrator.ca_file)}
        enrolled.configure(orchestrator=section, poll={"max_tasks": 1})
        path = enrolled.root / "note"
        task = orchestrator.submit("FILE_WRITE", {"path": str(path), "content": "x"}, agent=agent_id(enrolled))
        assert enrolled.cli("poll").returncode == 0
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        path.unlink()
        if parked:
            with closing(enrolled.journal()) as journal:
                assert journal.offered_again(task, new_id())
                journal.park(task, "it does not know the attempt")
        self.put_back(orchestrator, task, offered=offered)
        other = orchestrator.submit("ECHO", {}, agent=agent_id(enrolled))
        assert enrolled.cli("poll").returncode == 0
        assert orchestrator.outcome(task) == outcome
        assert not path.exists()
        assert enrolled.cli("poll").returncode == 0
        assert orchestrator.outcome(other) is not None
        with closing(enrolled.journal()) as journal:
            assert journal.verify().whole

    def test_what_is_still_to_be_done_is_done_once(
        self, orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = str(enrolled.root / "log")
        payload = {"path": path, "content": "x", "mode": "append"}
        task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
        monkeypatch.setattr(Worker, "work", lambda *_: None)
        Poll(enrolled.config).run()
        monkeypatch.undo()
        self.put_back(orchestrator, task, offered=False)
        for _ in range(2):
            assert enrolled.cli("poll").returncode == 0
        assert Path(path).read_text() == "x"
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["status"] == "succeeded"

    def test_a_run_of_the_host_is_told_to_nobody_who_offers_its_id(
        self, orchestrator: Orchestrator, enrolled: Agent
    ) -> None:
        run = enrolled.run("FILE_WRITE", {"path": str(enrolled.root / "note"), "content": "x"}).task_id
        assert run is not None
        order = submission.Order(
            type="ECHO", payload={}, agent=agent_id(enrolled), expires_at=time.time() + 60, task_id=run
        )
        submission.submit(orchestrator.home, orchestrator.store, order)
        for _ in range(2):
            assert enrolled.cli("poll").returncode == 0
        assert orchestrator.outcome(run) is None
        assert state_of(enrolled, run) == "finished"


def test_cancelled_before_it_began(orchestrator: Orchestrator, enrolled: Agent) -> None:
    payload = {"path": str(enrolled.root / "note"), "content": "x"}
    task = orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
    orchestrator.cancel(task)
    assert enrolled.cli("poll").returncode == 0
    assert not (enrolled.root / "note").exists()


class TestEnrolment:
    def test_token_is_used_up_and_removed(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        assert not (enrolled.base / "enrolment-token").exists()
        assert (enrolled.state_dir / "identity.json").stat().st_mode & 0o777 == 0o600

    def test_used_token_is_refused_to_another(
        self, orchestrator: Orchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = orchestrator.enrol()
        for number, code in ((1, 0), (2, 1)):
            (tmp_path / str(number)).mkdir(mode=0o755)
            agent = Agent(tmp_path / str(number))
            connect(agent, orchestrator, token)
            done = agent.cli("poll")
            assert done.returncode == code
        assert b"does not take the enrolment token" in done.stderr
        assert b"letsbe-orchestrator enrol" in done.stderr
        assert token.encode() not in done.stderr

    def test_expired_token(self, orchestrator: Orchestrator, agent: Agent) -> None:
        connect(agent, orchestrator, orchestrator.enrol(expires_s=0))
        done = agent.cli("poll")
        assert done.returncode == 1
        assert b"does not take the enrolment token" in done.stderr

    @pytest.mark.parametrize(
        ("prepare", "message"),
        [
            (lambda path: path.unlink(), b"is not enrolled"),
            (lambda path: path.write_text(""), b"is empty"),
            (lambda path: path.chmod(0o644), b"can be read by others"),
        ],
        ids=["missing", "empty", "readable"],
    )
    def test_token_file(self, orchestrator: Orchestrator, agent: Agent, prepare: object, message: bytes) -> None:
        connect(agent, orchestrator)
        prepare(agent.base / "enrolment-token")  # type: ignore[operator]
        done = agent.cli("poll")
        assert done.returncode in (1, 2)
        assert message in done.stderr

    def test_copied_identity_on_another_machine(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        """The same id from another fingerprint is no agent of ours."""
        known = json.loads((enrolled.state_dir / "identity.json").read_bytes())
        (enrolled.state_dir / "identity.json").write_text(json.dumps({**known, "agent_token": None}))
        connect(enrolled, orchestrator)
        environment = enrolled.environment()
        command = f'mount --bind {enrolled.base}/machine-id /etc/machine-id && exec "$@"'
        (enrolled.base / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        if not os.path.exists("/etc/machine-id"):
            Path("/etc/machine-id").touch()
        import subprocess

        from tests.agents import program

        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", command, "sh", *program(), "poll"],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert b"from another machine" in done.stderr


class TestFailures:
    def test_no_orchestrator_is_set(self, agent: Agent) -> None:
        done = agent.cli("poll")
        assert done.returncode == 1
        assert b"no orchestrator is set" in done.stderr
        assert b"orchestrator.url" in done.stderr

    def test_orchestrator_is_down(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        orchestrator.stop()
        done = enrolled.cli("poll")
        assert done.returncode == 1
        assert b"refused" in done.stderr
        assert orchestrator.url.encode() in done.stderr

    def test_breaker_leaves_the_network_alone(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        orchestrator.stop()
        assert [enrolled.cli("poll").returncode for _ in range(3)] == [1, 1, 0]
        journal = enrolled.journal()
        assert journal.fact("breaker") is not None
        journal.close()

    def test_certificate_of_another_ca(self, orchestrator: Orchestrator, enrolled: Agent, tmp_path: Path) -> None:
        other = Orchestrator(tmp_path / "other")
        enrolled.configure(orchestrator={"url": orchestrator.url, "ca_file": str(other.ca_file)})
        other.close()
        done = enrolled.cli("poll")
        assert done.returncode == 1
        assert b"certificate is not trusted" in done.stderr
        assert b"ca_file" in done.stderr

    def test_something_else_answers(self, enrolled: Agent, tmp_path: Path) -> None:
        import http.server
        import threading

        class Other(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>hello</html>")

            def log_message(self, *_: object) -> None:
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        enrolled.configure(orchestrator={"url": f"http://127.0.0.1:{server.server_port}"})
        try:
            done = enrolled.cli("poll")
        finally:
            server.shutdown()
            server.server_close()
        assert done.returncode == 1
        assert b"not the answer that the protocol wants" in done.stderr

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\n\r\n{"], ids=["header", "body"])
    def test_an_answer_that_trickles_has_an_end(
        self, enrolled: Agent, monkeypatch: pytest.MonkeyPatch, head: bytes
    ) -> None:
        monkeypatch.setattr(client, "EXCHANGE_S", 0.5)
        monkeypatch.setattr(alarm, "ALARM_GRACE_S", 0.5)
        with trickling(head) as url:
            enrolled.configure(orchestrator={"url": url})
            with pytest.raises(LetsbeError, match=r"the exchange was not over after 0\.5 s") as raised:
                Poll(enrolled.config).run()
        assert raised.value.code == "orchestrator_unreachable"
        assert Locks(str(enrolled.state_dir)).holder("poll") is None
        journal = enrolled.journal()
        try:
            assert breaker.load(journal).failures == 1
        finally:
            journal.close()

    def test_outcome_whose_receipt_trickles_is_kept_and_the_work_goes_on(
        self, orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("a", "b")
        for name in names:
            payload = {"path": str(enrolled.root / name), "content": "x"}
            orchestrator.submit("FILE_WRITE", payload, agent=agent_id(enrolled))
        monkeypatch.setattr(alarm, "ALARM_GRACE_S", 0.5)
        work = Worker.work
        with trickling(b"HTTP/1.1 200 OK\r\nX-") as url:

            def work_behind_it(self: Worker, locks: Locks) -> None:
                monkeypatch.setattr(client, "EXCHANGE_S", 0.5)
                self._outbox._client.url = url
                work(self, locks)

            monkeypatch.setattr(Worker, "work", work_behind_it)
            polled = Poll(enrolled.config).run()
        assert (polled.executed, polled.delivered) == (2, 0)
        journal = enrolled.journal()
        try:
            assert journal.outbox_depth() == 2
        finally:
            journal.close()

    def test_outcome_waits_in_the_outbox(
        self, orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = orchestrator.submit(
            "FILE_WRITE", {"path": str(enrolled.root / "n"), "content": "x"}, agent=agent_id(enrolled)
        )
        work = Worker.work

        def cut_off(self: Worker, *arguments: object) -> None:
            orchestrator.stop()
            work(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Worker, "work", cut_off)
        assert Poll(enrolled.config).run().executed == 1
        monkeypatch.undo()
        assert state_of(enrolled, task) == "finished"
        orchestrator.start()
        (enrolled.root / "n").unlink()
        assert enrolled.cli("poll").returncode == 0
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["status"] == "succeeded"
        assert not (enrolled.root / "n").exists(), "it was run again"

    def test_crash_before_the_work_runs_it_at_the_next_poll(
        self, orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = orchestrator.submit(
            "FILE_WRITE", {"path": str(enrolled.root / "n"), "content": "x"}, agent=agent_id(enrolled)
        )
        monkeypatch.setattr(Worker, "work", lambda *_: None)
        Poll(enrolled.config).run()
        monkeypatch.undo()
        assert state_of(enrolled, task) == "received"
        assert enrolled.cli("poll").returncode == 0
        assert (enrolled.root / "n").read_text() == "x"
        assert orchestrator.outcome(task) is not None

    @pytest.mark.parametrize("file", ["inbox/{task}", "identity.json"])
    def test_state_that_cannot_be_read_leaves_the_task_for_the_next_poll(
        self, orchestrator: Orchestrator, enrolled: Agent, monkeypatch: pytest.MonkeyPatch, file: str
    ) -> None:
        target = {"path": str(enrolled.root / "n"), "content": "x"}
        task = orchestrator.submit("FILE_WRITE", target, agent=agent_id(enrolled))
        broken = enrolled.state_dir / file.format(task=task)
        work = Worker.work

        def work_without_it(self: Worker, locks: Locks) -> None:
            kept = broken.rename(enrolled.base / "kept")
            broken.mkdir(mode=0o700)
            try:
                work(self, locks)
            finally:
                broken.rmdir()
                kept.rename(broken)

        monkeypatch.setattr(Worker, "work", work_without_it)
        with pytest.raises(LetsbeError, match=f"{broken}: Is a directory") as failed:
            Poll(enrolled.config).run()
        assert failed.value.code == "state_unusable"
        monkeypatch.undo()
        assert state_of(enrolled, task) == "received"
        assert orchestrator.task(task).outcome is None
        assert enrolled.cli("poll").returncode == 0
        assert (enrolled.root / "n").read_text() == "x"

    def test_second_poll_leaves_at_once(self, enrolled: Agent) -> None:
        with Locks(str(enrolled.state_dir)).hold({"poll"}, holder_now("poll", None)):
            began = time.monotonic()
            done = enrolled.cli("poll")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert time.monotonic() - began < 20

    def test_identity_that_others_can_read_is_refused(self, enrolled: Agent) -> None:
        (enrolled.state_dir / "identity.json").chmod(0o644)
        done = enrolled.cli("poll")
        assert done.returncode == 2
        assert b"chmod 600" in done.stderr

    def test_large_outcome_is_cut_to_what_is_taken(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        big = enrolled.root / "big.txt"
        big.write_text("line\n" * 300_000)
        payload = {"path": str(big), "mode": "head", "max_bytes": 1024 * 1024}
        task = orchestrator.submit("FILE_INSPECT", payload, agent=agent_id(enrolled))
        assert enrolled.cli("poll").returncode == 0
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["success"] is True
        assert any("cut" in warning for warning in outcome["warnings"])

    def test_error_that_is_larger_than_what_is_taken_is_cut(self, orchestrator: Orchestrator, enrolled: Agent) -> None:
        orchestrator.stop()
        orchestrator.configure(result_bytes=1024)
        orchestrator.start()
        task = orchestrator.submit("ECHO", {"\u20ac" * 1500: 1}, agent=agent_id(enrolled))
        assert enrolled.cli("poll").returncode == 0
        outcome = orchestrator.outcome(task)
        assert outcome is not None
        assert outcome["error"]["code"] == "invalid_payload"
        assert outcome["error"]["message"].endswith("\u20ac...")


def test_state_that_can_not_be_made(agent: Agent) -> None:
    shutil.rmtree(agent.state_dir, ignore_errors=True)
    agent.state_dir.write_text("a file")
    outcome = agent.run("FILE_WRITE", {"path": str(agent.root / "x"), "content": "x"})
    assert outcome.error is not None
    assert outcome.error.code == "state_unusable"
    assert str(agent.state_dir) in outcome.error.message


def test_poll_needs_an_orchestrator(agent: Agent) -> None:
    with pytest.raises(LetsbeError, match="no orchestrator is set"):
        Poll(agent.config).run()


def test_netrc_does_not_replace_the_token(enrolled: Agent) -> None:
    (enrolled.base / ".netrc").write_text("machine 127.0.0.1\nlogin somebody\npassword else\n")
    (enrolled.base / ".netrc").chmod(0o600)
    assert enrolled.cli("poll", env={"HOME": str(enrolled.base)}).returncode == 0


class TestForgotten:
    """The orchestrator has lost its memory of an agent."""

    @pytest.fixture
    def forgotten(self, enrolled: Agent, tmp_path: Path) -> Iterator[tuple[Agent, Orchestrator]]:
        other = Orchestrator(tmp_path / "new orchestrator")
        other.start()
        section = {"url": other.url, "ca_file": str(other.ca_file)}
        enrolled.configure(orchestrator={**section, "enrolment_token_file": str(enrolled.base / "enrolment-token")})
        yield enrolled, other
        other.close()

    def test_keeps_its_identity_without_a_new_token(self, forgotten: tuple[Agent, Orchestrator]) -> None:
        agent, _ = forgotten
        before = (agent.state_dir / "identity.json").read_bytes()
        done = agent.cli("poll")
        assert done.returncode == 1
        assert b"401" in done.stderr
        assert (agent.state_dir / "identity.json").read_bytes() == before

    def test_registers_anew_with_a_new_token(self, forgotten: tuple[Agent, Orchestrator]) -> None:
        agent, other = forgotten
        before = agent_id(agent)
        connect(agent, other)
        assert agent.cli("poll").returncode == 0
        assert agent_id(agent) == before
        assert [known.agent_id for known in other.agents()] == [before]


def test_poll_by_hand_may_ask_at_once(orchestrator: Orchestrator, enrolled: Agent) -> None:
    orchestrator.stop()
    for _ in range(3):
        enrolled.cli("poll")
    orchestrator.start()
    task = orchestrator.submit("ECHO", {"message": "x"}, agent=agent_id(enrolled))
    assert enrolled.cli("poll").returncode == 0
    assert orchestrator.outcome(task) is None
    assert enrolled.cli("poll", "--now").returncode == 0
    assert orchestrator.outcome(task) is not None


def test_mistake_on_this_machine_does_not_open_the_breaker(orchestrator: Orchestrator, agent: Agent) -> None:
    connect(agent, orchestrator)
    (agent.base / "enrolment-token").chmod(0o644)
    assert [agent.cli("poll").returncode for _ in range(3)] == [2, 2, 2]
    (agent.base / "enrolment-token").chmod(0o600)
    assert agent.cli("poll").returncode == 0
