from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from letsbe.protocol import Outcome
from tests.agents import Agent, tree


def write(step: str, path: Path | str, content: str, **more: Any) -> dict[str, Any]:
    return {"id": step, "type": "FILE_WRITE", "payload": {"path": str(path), "content": content}, **more}


def echo(step: str, message: str, **more: Any) -> dict[str, Any]:
    return {"id": step, "type": "ECHO", "payload": {"message": message}, **more}


def states(outcome: Outcome) -> dict[str, str]:
    return {step["id"]: step["state"] for step in outcome.data["steps"]}


@pytest.fixture
def failing(agent: Agent) -> dict[str, Any]:
    """A step that passes validation and fails when it runs: its directory is gone by then."""
    return {
        "id": "fail",
        "type": "FILE_WRITE",
        "payload": {"path": f"{agent.root}/missing/x", "content": "x"},
    }


def test_all_steps_run_in_order(agent: Agent) -> None:
    path = agent.root / "a"
    outcome = agent.run("COMPOSITE", {"steps": [write("one", path, "1"), write("two", path, "2")]})
    assert outcome.success
    assert outcome.changed
    assert states(outcome) == {"one": "ok", "two": "ok"}
    assert path.read_text() == "2"


def test_failure_puts_back_in_reverse(agent: Agent, failing: dict[str, Any]) -> None:
    old, new = agent.root / "old", agent.root / "new"
    old.write_text("before")
    old.chmod(0o640)
    before = {path: facts[:3] + facts[4:] for path, facts in tree(agent.root).items()}
    steps = [write("one", old, "1"), write("two", old, "2"), write("three", new, "3"), failing, echo("never", "x")]
    outcome = agent.run("COMPOSITE", {"steps": steps})
    assert outcome.error is not None
    assert outcome.error.code == "step_failed"
    assert "missing" in outcome.error.message
    assert outcome.changed is False
    assert outcome.data["failed_step"] == "fail"
    assert outcome.data["rolled_back"] is True
    assert states(outcome) == {
        "one": "rolled_back", "two": "rolled_back", "three": "rolled_back", "fail": "failed", "never": "skipped",
    }  # fmt: skip
    assert {path: facts[:3] + facts[4:] for path, facts in tree(agent.root).items()} == before


def test_rollback_can_be_left_out(agent: Agent, failing: dict[str, Any]) -> None:
    path = agent.root / "a"
    outcome = agent.run("COMPOSITE", {"steps": [write("one", path, "1"), failing], "rollback_on_error": False})
    assert not outcome.success
    assert outcome.changed is True
    assert outcome.data["rolled_back"] is False
    assert path.read_text() == "1"


def test_given_rollback_steps_run_instead(agent: Agent, failing: dict[str, Any]) -> None:
    path = agent.root / "a"
    payload = {
        "steps": [write("one", path, "1"), failing],
        "rollback": [write("sorry", agent.root / "sorry", "${steps.one.data.path}")],
    }
    outcome = agent.run("COMPOSITE", payload)
    assert path.read_text() == "1"
    assert (agent.root / "sorry").read_text() == str(path)
    assert [(step["id"], step["state"]) for step in outcome.data["rollback"]] == [("sorry", "ok")]
    assert outcome.changed is True


def test_step_that_may_fail_does_not_stop_the_rest(agent: Agent, failing: dict[str, Any]) -> None:
    outcome = agent.run("COMPOSITE", {"steps": [{**failing, "on_error": "continue"}, echo("then", "x")]})
    assert outcome.success
    assert states(outcome) == {"fail": "failed", "then": "ok"}
    assert any("fail" in warning for warning in outcome.warnings)


def test_rollback_leaves_alone_what_somebody_changed_meanwhile(agent: Agent) -> None:
    path = agent.root / "a"
    path.write_text("before")
    outcome = agent.run("COMPOSITE", {"steps": [write("one", path, "1")]})
    path.write_text("by hand")
    undone = agent.cli("undo", str(outcome.task_id))
    assert undone.returncode == 1
    assert b"was changed since" in undone.stdout
    assert path.read_text() == "by hand"


class TestReferences:
    def test_value_keeps_its_type_and_text_is_filled_in(self, agent: Agent) -> None:
        steps = [
            write("one", "${vars.path}", "1"),
            echo("two", "${steps.one.data.path} ${steps.one.changed} ${vars.n} $${steps.one} ${TAG:-x}"),
        ]
        payload = {"steps": steps, "vars": {"path": str(agent.root / "a"), "n": 3}}
        outcome = agent.run("COMPOSITE", payload)
        assert outcome.error is None
        message = outcome.data["steps"][1]["outcome"]["data"]["message"]
        assert message == f"{agent.root}/a true 3 ${{steps.one}} ${{TAG:-x}}"

    @pytest.mark.parametrize(
        ("message", "complaint"),
        [
            ("${steps.later.changed}", "no earlier step 'later'"),
            ("${steps.two.changed}", "no earlier step 'two'"),
            ("${steps.one.data.nope}", "ECHO gives no 'nope'"),
            ("${steps.one.nope}", "is no reference"),
            ("${steps.one}", "is no reference"),
            ("${steps.one.data.message + 1}", "is no reference"),
            ("${vars.nope}", "no such variable"),
            ("${vars.}", "is no reference"),
        ],
    )
    def test_mistakes_are_found_before_step_one(self, agent: Agent, message: str, complaint: str) -> None:
        path = agent.root / "a"
        steps = [echo("one", "x"), write("w", path, "1"), echo("two", message), echo("later", "x")]
        outcome = agent.run("COMPOSITE", {"steps": steps})
        assert outcome.error is not None
        assert outcome.error.code == "invalid_payload"
        assert complaint in outcome.error.message
        assert outcome.error.details["path"] == "$.steps[2]"
        assert not path.exists()

    def test_reference_into_a_skipped_step_fails_the_step(self, agent: Agent) -> None:
        steps = [
            echo("one", "x"),
            echo("two", "x", when={"ref": "${steps.one.changed}"}),
            echo("three", "${steps.two.data.message}"),
        ]
        outcome = agent.run("COMPOSITE", {"steps": steps})
        assert outcome.error is not None
        assert "step two did not run" in outcome.error.message

    def test_reference_to_what_a_step_does_not_give_says_where_its_data_is_described(self, agent: Agent) -> None:
        steps = [echo("one", "x"), echo("two", "${steps.one.data.message.deeper}")]
        outcome = agent.run("COMPOSITE", {"steps": steps})
        assert outcome.error is not None
        assert "${steps.one.data.message.deeper}: there is no 'deeper'" in outcome.error.message
        assert outcome.error.hint == "`letsbe schema ECHO --data` shows what step one gives."

    def test_secret_referred_to_is_still_redacted(self, agent: Agent) -> None:
        steps = [echo("one", "postgres://app:hunter22-long@db/x"), echo("two", "${steps.one.data.message}")]
        outcome = agent.run("COMPOSITE", {"steps": steps})
        assert "hunter22" not in str(outcome)


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ({"ref": "${steps.one.changed}"}, False),
        ({"ref": "${steps.one.changed}", "equals": False}, True),
        ({"ref": "${steps.one.data.message}", "equals": "x"}, True),
        ({"ref": "${steps.one.status}", "equals": "failed"}, False),
        ({"ref": "${vars.go}", "equals": "yes"}, True),
    ],
)
def test_when(agent: Agent, when: dict[str, Any], runs: bool) -> None:
    outcome = agent.run("COMPOSITE", {"steps": [echo("one", "x"), echo("two", "y", when=when)], "vars": {"go": "yes"}})
    assert states(outcome)["two"] == ("ok" if runs else "skipped")


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ([echo("a", "x"), echo("a", "y")], "stands twice"),
        ([{"id": "a", "type": "NOPE", "payload": {}}], "no executor 'NOPE'"),
        ([{"id": "a", "type": "ECHO", "payload": {"nope": 1}}], "unknown field `nope`"),
        ([{"id": "a", "type": "ECHO", "payload": {"message": 5}}], "Expected `str`"),
        ([], "length >= 1"),
        ([echo(f"s{n}", "x") for n in range(51)], "length <= 50"),
        ([echo("A b", "x")], "matching regex"),
    ],
    ids=["twice", "unknown type", "unknown field", "wrong type", "none", "too many", "bad id"],
)
def test_everything_is_validated_before_step_one(agent: Agent, steps: list[Any], complaint: str) -> None:
    path = agent.root / "a"
    payload = {"steps": [write("first", path, "1"), *steps][:51] if steps else []}
    outcome = agent.run("COMPOSITE", payload)
    assert outcome.error is not None
    assert complaint in outcome.error.message
    assert not path.exists()


def test_nesting_is_bounded(agent: Agent) -> None:
    payload: dict[str, Any] = {"steps": [echo("e", "deep")]}
    for _ in range(2):
        payload = {"steps": [{"id": "inner", "type": "COMPOSITE", "payload": payload}]}
    assert agent.run("COMPOSITE", payload).success
    payload = {"steps": [{"id": "inner", "type": "COMPOSITE", "payload": payload}]}
    outcome = agent.run("COMPOSITE", payload)
    assert outcome.error is not None
    assert "nested deeper than 3" in outcome.error.message


def test_what_a_nested_one_did_is_put_back_too(agent: Agent, failing: dict[str, Any]) -> None:
    inner = {"id": "inner", "type": "COMPOSITE", "payload": {"steps": [write("w", agent.root / "a", "1")]}}
    outcome = agent.run("COMPOSITE", {"steps": [inner, failing]})
    assert outcome.data["rolled_back"] is True
    assert not (agent.root / "a").exists()


def test_check_mode_sees_what_earlier_steps_would_have_written(agent: Agent) -> None:
    path = agent.root / "a"
    look = {"id": "look", "type": "FILE_INSPECT", "payload": {"path": str(path), "mode": "head"}}
    outcome = agent.run("COMPOSITE", {"steps": [write("one", path, "planned\n"), look]}, check=True)
    assert outcome.error is None
    assert outcome.changed
    assert outcome.data["steps"][1]["outcome"]["data"]["content"] == "planned\n"
    assert not path.exists()


def test_a_lock_held_elsewhere_makes_the_whole_busy(agent: Agent) -> None:
    from letsbe.agent.locks import Locks, holder_now

    path = agent.root / "b"
    agent.state_dir.mkdir(exist_ok=True)
    with Locks(str(agent.state_dir)).hold({f"file:{path}"}, holder_now("FILE_WRITE", None)):
        outcome = agent.run("COMPOSITE", {"steps": [write("one", agent.root / "a", "1"), write("two", path, "2")]})
    assert outcome.error is not None
    assert outcome.error.code == "busy"
    assert not (agent.root / "a").exists()


def test_undo_puts_the_whole_back(agent: Agent) -> None:
    path = agent.root / "a"
    path.write_text("before")
    outcome = agent.run("COMPOSITE", {"steps": [write("one", path, "1"), write("two", agent.root / "b", "2")]})
    undone = agent.json("undo", str(outcome.task_id))
    assert undone["success"] is True
    assert path.read_text() == "before"
    assert not (agent.root / "b").exists()
    assert agent.json("undo", undone["task_id"])["success"] is True
    assert path.read_text() == "1"
    assert (agent.root / "b").read_text() == "2"
