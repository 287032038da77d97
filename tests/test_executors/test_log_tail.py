"""LOG_TAIL, on real containers."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from letsbe.protocol import Outcome
from tests.agents import Agent, program
from tests.engine import IMAGE, Stack, docker, running

SECRET = "L0g-S3cret-value-1"
IN_FILE = "L0g-S3cret-value-2"
WEB = r"""
echo 'level=info msg=start'; echo '{"level":"error","msg":"broken"}' >&2; echo "password is $$DB_PASSWORD and $$OTHER";
until [ -e /tmp/heard ]; do sleep 0.05; done;
printf 'caf\351\n'; head -c 100000 /dev/zero | tr '\0' 'x'; echo; echo last; touch /tmp/done; exec sleep 1000
"""
COMPOSE = f"""
x-base: &base {{image: "{IMAGE}", stop_grace_period: 0s}}
services:
  web: {{<<: *base, command: [sh, -c, {json.dumps(WEB)}], environment: {{DB_PASSWORD: {SECRET}}}, env_file: app.env}}
  tty: {{<<: *base, tty: true, command: [sh, -c, "echo on a terminal; exec sleep 1000"]}}
  silent: {{<<: *base, logging: {{driver: none}}, command: [sh, -c, "echo unheard; exec sleep 1000"]}}
  rotated:
    <<: *base
    logging: {{driver: json-file, options: {{max-size: 4k, max-file: "3"}}}}
    command: [sh, -c, "exec sleep 1000"]
  counter: {{<<: *base, command: [sh, -c, "for i in $$(seq 30); do echo line $$i; done; sleep 1000"]}}
"""


@pytest.fixture(scope="module")
def machine(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Stack]]:
    agent = Agent(tmp_path_factory.mktemp("logs"))
    with running(
        agent.root / "shop", COMPOSE, {"app.env": f"OTHER_TOKEN=x\nOTHER={IN_FILE}\nAPI_KEY={IN_FILE}\n"}
    ) as it:
        # The engine hears the streams one by one, and gives each line the time at which it did.
        while not subprocess.run(["docker", "logs", it.container("web")], capture_output=True, check=True).stderr:
            time.sleep(0.05)
        docker("exec", it.container("web"), "sh", "-c", "touch /tmp/heard; until [ -e /tmp/done ]; do sleep 0.05; done")
        yield agent, it


def tail(machine: tuple[Agent, Stack], *services: str, **payload: Any) -> Outcome:
    agent, stack = machine
    outcome = agent.run("LOG_TAIL", {"stack": stack.name, "services": list(services), **payload})
    assert outcome.error is None, outcome.error
    return outcome


def texts(outcome: Outcome) -> list[str]:
    return [line["text"] for line in outcome.data["lines"]]


def write(stack: Stack, service: str, *lines: str) -> None:
    """Write lines to the log of a service as its first process does."""
    script = "".join(f"echo '{line}' >/proc/1/fd/1;" for line in lines)
    docker("exec", stack.container(service), "sh", "-c", script)


def test_lines_have_their_time_service_and_stream(machine: tuple[Agent, Stack]) -> None:
    lines = tail(machine, "web").data["lines"]
    assert (lines[0]["service"], lines[0]["container"]) == ("web", machine[1].container("web"))
    assert {line["text"]: line["stream"] for line in lines}['{"level":"error","msg":"broken"}'] == "stderr"
    times = [line["ts"] for line in lines]
    assert times == sorted(times)
    assert all(len(moment) == len("2026-11-24T07:00:00.123456789Z") for moment in times)


def test_long_lines_are_joined_and_cut(machine: tuple[Agent, Stack]) -> None:
    found = [line for line in tail(machine, "web").data["lines"] if line["text"].startswith("xxx")]
    assert len(found) == 1
    assert found[0]["partial"]
    assert len(found[0]["text"]) == 32_768


def test_what_is_no_text_is_replaced(machine: tuple[Agent, Stack]) -> None:
    assert "caf\ufffd" in texts(tail(machine, "web"))


def test_secrets_of_the_environment_are_covered(machine: tuple[Agent, Stack]) -> None:
    outcome = tail(machine, "web")
    assert SECRET not in repr(outcome)
    assert IN_FILE not in repr(outcome)
    assert "password is [redacted] and [redacted]" in texts(outcome)
    assert texts(tail(machine, "web", grep="S3cret")) == []  # nor can they be guessed piece by piece


def test_a_terminal_s_log_is_read_without_frames(machine: tuple[Agent, Stack]) -> None:
    assert texts(tail(machine, "tty")) == ["on a terminal"]


def test_a_log_that_is_not_kept_is_an_entry(machine: tuple[Agent, Stack]) -> None:
    outcome = tail(machine, "silent", "tty")
    assert texts(outcome) == ["on a terminal"]
    assert [one["container"] for one in outcome.data["errors"]] == [machine[1].container("silent")]
    assert "logging driver" in outcome.data["errors"][0]["message"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"level": "error"}, ['{"level":"error","msg":"broken"}']),
        ({"level": "info"}, ["level=info msg=start", '{"level":"error","msg":"broken"}']),
        ({"grep": "^la.t$"}, ["last"]),
        ({"grep": "start", "level": "warning"}, []),
        ({"since": "1h", "grep": "last"}, ["last"]),
        ({"until": "2020-01-01T00:00:00+01:00"}, []),
        ({"tail": 1}, ["last"]),
    ],
    ids=str,
)
def test_lines_are_selected(machine: tuple[Agent, Stack], wanted: dict[str, Any], found: list[str]) -> None:
    assert sorted(texts(tail(machine, "web", **wanted))) == sorted(found)


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("stack", {}),
        ("stack", {"stack": "a", "containers": ["b"]}),
        ("services", {"containers": ["b"], "services": ["c"]}),
        ("since", {"stack": "STACK", "since": "yesterday"}),
        ("cursor", {"stack": "STACK", "cursor": "rubbish"}),
        ("follow", {"stack": "STACK", "follow": True}),
        ("until", {"stack": "STACK", "until": "1m", "follow_s": 1}),
    ],
)
def test_what_makes_no_sense_is_refused(machine: tuple[Agent, Stack], field: str, payload: dict[str, Any]) -> None:
    agent, stack = machine
    named = {key: stack.name if value == "STACK" else value for key, value in payload.items()}
    outcome = agent.run("LOG_TAIL", named)
    assert outcome.error is not None
    assert outcome.error.details["path"] == f"$.{field}"


@pytest.mark.parametrize("payload", [{"stack": "nobody-knows-it"}, {"containers": ["nobody-knows-it"]}])
def test_what_is_not_there_is_an_error(machine: tuple[Agent, Stack], payload: dict[str, Any]) -> None:
    outcome = machine[0].run("LOG_TAIL", payload)
    assert outcome.error is not None
    assert outcome.error.code in ("stack_not_found", "container_not_found")


def test_a_cursor_loses_and_repeats_nothing(machine: tuple[Agent, Stack]) -> None:
    """Pages of seven lines over thirty that were written within a millisecond or two, then more lines."""
    first = tail(machine, "counter", since="1h", grep="line 1$")
    assert texts(first) == ["line 1"]
    start = tail(machine, "counter", until="2020-01-01T00:00:00Z").data["cursor"]
    seen: list[str] = []
    cursor = start
    for _ in range(10):
        page = tail(machine, "counter", tail=7, cursor=cursor)
        seen += texts(page)
        cursor = page.data["cursor"]
        if not page.data["truncated"]:
            break
    assert seen == [f"line {number}" for number in range(1, 31)]
    assert texts(tail(machine, "counter", cursor=cursor)) == []
    write(machine[1], "counter", "more", "and more")
    assert texts(tail(machine, "counter", cursor=cursor)) == ["more", "and more"]


def test_bytes_are_bounded_from_the_newest_backwards(machine: tuple[Agent, Stack]) -> None:
    outcome = tail(machine, "web", max_bytes=1024)
    assert outcome.data["truncated"]
    assert texts(outcome)[-1] == "last"
    assert sum(map(len, texts(outcome))) <= 1024


def test_following_sees_through_a_restart(machine: tuple[Agent, Stack]) -> None:
    _, stack = machine
    restart = subprocess.Popen(["docker", "restart", "-t", "0", stack.container("tty")], stdout=subprocess.DEVNULL)
    outcome = tail(machine, "tty", follow_s=3)
    assert restart.wait() == 0
    assert texts(outcome) == ["on a terminal", "on a terminal"]


def test_following_sees_through_rotation(machine: tuple[Agent, Stack]) -> None:
    agent, stack = machine
    with follow(agent, stack, "rotated") as process:
        for number in range(12):
            write(stack, "rotated", *(f"{number}-{one} {'y' * 100}" for one in range(5)))
            found = [json.loads(next_line(process))["text"].split()[0] for _ in range(5)]
            assert found == [f"{number}-{one}" for one in range(5)]
        assert finish(process) == 0


@contextmanager
def follow(agent: Agent, stack: Stack, service: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [*program(), "log-tail", "--stack", stack.name, "--services", service, "--follow"]
    with subprocess.Popen(
        command, env=agent.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # a test that failed would wait for it without end


def next_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 30)[0], "nothing came"
    return process.stdout.readline()


def finish(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert errors == b"", errors
    assert rest == b""
    return process.returncode


def test_by_hand_it_is_drawn_with_the_container_s_name(machine: tuple[Agent, Stack]) -> None:
    agent, stack = machine
    shown = agent.cli("log-tail", "--stack", stack.name, "--services", "counter", "--tail", "1", "--output", "text")
    assert shown.returncode == 0
    assert f"{stack.container('counter')} | " in shown.stdout.decode()


def test_a_reader_that_goes_away_ends_the_following(machine: tuple[Agent, Stack]) -> None:
    agent, stack = machine
    with follow(agent, stack, "counter") as process:
        assert process.stdout is not None
        assert json.loads(next_line(process))["text"]
        process.stdout.close()
        until = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until:
            write(stack, "counter", "unread")
            time.sleep(0.1)
        assert process.returncode == 0


def test_without_an_engine_it_says_so(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DOCKER_HOST", "unix:///nowhere/docker.sock")
    outcome = agent.run("LOG_TAIL", {"stack": "x"})
    assert outcome.error is not None
    assert outcome.error.code == "docker_unavailable"
