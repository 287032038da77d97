from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from letsbe.cli import output
from letsbe.cli.draw import draw_outcome
from letsbe.cli.output import emit_outcome
from letsbe.protocol import Outcome
from tests.agents import Agent


def outcome(task_type: str, data: dict[str, Any]) -> Outcome:
    return Outcome(
        type=task_type, status="succeeded", success=True, data=data, started_at="2026-01-01T00:00:00Z",
        duration_ms=1, agent_version="1",
    )  # fmt: skip


def drawn(outcome: Outcome) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    draw_outcome(console, outcome)
    return console.export_text()


def test_verdict_comes_first_and_defaults_are_left_out(agent: Agent) -> None:
    text = drawn(agent.run("FILE_WRITE", {"path": f"{agent.root}/x", "content": "x"}))
    assert text.startswith("✓ FILE_WRITE succeeded, changed")
    assert "created" in text
    assert "in_place" not in text
    assert "diff_truncated" not in text


def test_error_and_hint_come_before_the_data(agent: Agent) -> None:
    text = drawn(agent.run("FILE_WRITE", {"path": "/etc/x", "content": "x"}))
    lines = text.splitlines()
    assert lines[0].startswith("✗ FILE_WRITE refused, nothing changed")
    assert "/etc/x: not below an allowed root" in lines[1]
    assert "roots" in text


def test_diff_is_drawn_as_one(agent: Agent) -> None:
    path = agent.root / "x"
    path.write_text("one\n")
    text = drawn(agent.run("FILE_WRITE", {"path": str(path), "content": "two\n"}, check=True, diff=True))
    assert "would change" in text
    assert "\n-one\n+two\n" in text


def test_steps_are_named_with_what_became_of_them(agent: Agent) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "first", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/a", "content": "x"}},
        {"id": "second", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/none/b", "content": "x"}},
        {"id": "third", "type": "ECHO"},
    ]
    text = drawn(agent.run("COMPOSITE", {"steps": steps}))
    for line in ("first rolled back", "second failed", "third skipped", "✗ FILE_WRITE failed"):
        assert line in text, text


def test_markup_in_data_is_shown_as_it_is(agent: Agent) -> None:
    assert "[bold]x[/bold] \\[red]" in drawn(agent.run("ECHO", {"message": "[bold]x[/bold] \\[red]"}))


def test_what_a_program_printed_does_not_steer_the_terminal(agent: Agent) -> None:
    text = drawn(agent.run("ECHO", {"message": "before\x1b]0;title\x07\x1b[2Jafter\x9b1m"}))
    assert "before\\x1b]0;title\\x07\\x1b[2Jafter\\x9b1m" in text


def test_names_do_not_steer_the_terminal_either() -> None:
    text = drawn(outcome("ECHO", {"a\x1b[2Jb": {"c\x9bd": 1}, "rows": [{"e\x1bf": "x"}]}))
    assert [words for words in ("a\\x1b[2Jb", "c\\x9bd", "e\\x1bf") if words not in text] == []


def test_what_is_invisible_or_turns_the_direction_is_spelled_out() -> None:
    text = drawn(outcome("ECHO", {"message": "a\u202eb\u2066c\u200bd\ufeffe\u2028f\xadg"}))
    assert r"a\u202eb\u2066c\u200bd\ufeffe\u2028f\xadg" in text


CONTAINER = {"service": "web:x:", "container": "web-1", "state": "running", "image": "reg.example:100:x:y", "ports": []}
CHECK = {"status": "fail", "kind": "port", "target": "ip:100:5", "message": "root:x:0", "expected": "a:x:b"}
HIT = {"count": 1, "service": "db:x:", "last": "2026-01-01T00:00:00Z", "template": "root:x:0:0 at ip:100:5"}


@pytest.mark.parametrize(
    ("task_type", "data", "shown"),
    [
        ("SERVICE_DISCOVER", {"stacks": [{"name": "s", "dir": "/s", "services": [CONTAINER]}]},
         ["web:x:", "reg.example:100:x:y"]),
        ("HEALTHCHECK", {"status": "fail", "checks": [CHECK], "log_hits": [HIT]},
         ["ip:100:5", "root:x:0", "a:x:b", "db:x:", "root:x:0:0 at ip:100:5"]),
        ("ECHO", {"a:x:b": {"c:100:d": 1}, "rows": [{"e:x:f": "g:x:h"}]}, ["a:x:b", "c:100:d", "e:x:f", "g:x:h"]),
    ],
    ids=["container", "check and log hit", "keys and columns"],
)  # fmt: skip
def test_colons_around_a_word_make_no_picture(
    task_type: str, data: dict[str, Any], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    emit_outcome(outcome(task_type, data), "text")
    text = capsys.readouterr().out
    assert [words for words in shown if words not in text] == []


def test_brackets_in_what_others_wrote_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from letsbe.cli.output import console

    table = Table()
    table.add_row("[error] no room left, password [redacted]")
    console().print(table)
    assert "[error] no room left, password [redacted]" in capsys.readouterr().out


def test_findings_and_tasks_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from letsbe.agent.checkup.finding import Finding
    from letsbe.agent.condition import Task
    from letsbe.cli import doctor, status

    hostile = "a\x1b[2Jb\u202ec"
    doctor._draw([Finding(check="disk", status="fail", observed=hostile, hint=hostile)])
    output.console().print(status._tasks([Task(id="1", type="ECHO", origin="local", since=None, message=hostile)]))
    said = capsys.readouterr().out
    assert said.count("a\\x1b[2Jb\\u202ec") == 3
    assert "\x1b" not in said


def test_what_went_wrong_while_lines_came_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from letsbe.cli.live import run_live

    class Ended:
        def run(self, _request: object) -> Outcome:
            return outcome("LOG_TAIL", {"errors": [{"container": "web", "message": "a\x1b[2J"}]})

    assert run_live(Ended(), None, "json") == 0  # type: ignore[arg-type]
    assert capsys.readouterr().err == "web: a\\x1b[2J\n"
