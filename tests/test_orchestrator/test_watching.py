"""``tasks --watch``: a list that is drawn anew, or a line for each change; it ends in good order."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.orchestrator_fixture import ROOT, Orchestrator
from tests.test_orchestrator.fake_agent import add_agent


@contextmanager
def watching(home: Orchestrator, *words: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """``tasks --watch`` on a home; killed if it is still there in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "letsbe.orchestrator", "tasks", "--home", str(home.path), "--watch", *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_piped_each_change_is_a_json_document_and_it_ends_when_all_have_ended(home: Orchestrator) -> None:
    agent = add_agent(home)
    first, second = home.submit("ECHO", agent=agent), home.submit("ECHO", agent=agent)
    with watching(home, "--until-ended") as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [(task["task_id"], task["state"]) for task in seen] == [(first, "waiting"), (second, "waiting")]
        for task in (second, first):
            home.cancel(task)
            changed = json.loads(process.stdout.readline())
            assert (changed["task_id"], changed["state"]) == (task, "cancelled")
        assert process.stdout.read() == ""
        assert process.wait(20) == 0


def test_as_text_a_change_is_one_line(home: Orchestrator) -> None:
    task = home.submit("ECHO", agent=add_agent(home))
    home.cancel(task)
    with watching(home, "--until-ended", "--output", "text") as process:
        output, error = process.communicate(timeout=30)
    assert error == ""
    assert [task in line and "cancelled" in line for line in output.splitlines()] == [True]


def test_ctrl_c_ends_it_with_0_and_no_word(home: Orchestrator) -> None:
    home.submit("ECHO", agent=add_agent(home))
    with watching(home) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_on_a_terminal_the_list_is_drawn_anew(home: Orchestrator) -> None:
    task = home.submit("ECHO", agent=add_agent(home))
    controller, terminal = pty.openpty()
    drawn = b""
    with watching(home, "--until-ended", stdout=terminal) as process:
        os.close(terminal)
        deadline = time.monotonic() + 30
        while b"waiting" not in drawn and time.monotonic() < deadline:
            drawn += os.read(controller, 65536)
        home.cancel(task)
        try:
            while piece := os.read(controller, 65536):
                drawn += piece
        except OSError:
            pass  # the other end is closed
        assert process.wait(20) == 0
    os.close(controller)
    before, _, after = drawn.partition(b"waiting")
    assert task.encode() in before
    assert b"\x1b[1A" in after, "the cursor goes up to draw over it"
    assert b"cancelled" in after
