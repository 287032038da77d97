"""A COMPOSITE that is killed while it is rolled back: the rest comes back with the next run, whoever makes it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent.housekeeping import tidy
from tests.agents import Agent, program
from tests.faults.kills import ON_DISK
from tests.faults.rollbacks import killed, resumed

NAMES = ("a", "b", "c")
RENAMES = "rename,renameat,renameat2"
OLD = dict.fromkeys(NAMES, "old\n")


def chain(root: Path, *, nested: bool = False, **more: Any) -> dict[str, Any]:
    """Three files get new content, one is new in directories that are new, and then a step fails."""
    steps: list[dict[str, Any]] = [
        {"id": name, "type": "FILE_WRITE", "payload": {"path": f"{root}/{name}", "content": "new\n"}} for name in NAMES
    ]
    fresh = {"path": f"{root}/made/deep/fresh", "content": "new\n", "make_dirs": True}
    steps.append({"id": "fresh", "type": "FILE_WRITE", "payload": fresh})
    steps.append({"id": "fails", "type": "FILE_INSPECT", "payload": {"path": f"{root}/none", "mode": "head"}})
    if not nested:
        return {"steps": steps, **more}
    inner = {"id": "inner", "type": "COMPOSITE", "payload": {"steps": steps[2:], **more}}
    return {"steps": [*steps[:2], inner]}


def prepared(agent: Agent) -> Agent:
    for name, content in OLD.items():
        (agent.root / name).write_text(content)
    return agent


def held(agent: Agent) -> dict[str, str]:
    """What is below the root, without empty directories' and temporary files' absence being overlooked."""
    return {path.name: path.read_text() if path.is_file() else "directory" for path in agent.root.rglob("*")}


def states(outcome: Any) -> dict[str, str]:
    """What became of each step, those of a chain inside too."""
    found: dict[str, str] = {}
    for step in outcome["data"]["steps"]:
        found[step["id"]] = step["state"]
        if step["id"] == "inner":
            found |= states(step["outcome"])
    return found


def check_rolled_back(agent: Agent) -> Any:
    """All is as before, the outcome says so, and nothing is left that was kept for the way there."""
    (run,) = agent.json("history")
    assert held(agent) == OLD
    assert run["state"] == "finished"
    outcome = run["outcome"]
    assert outcome["changed"] is False
    assert outcome["data"]["rolled_back"] is True
    assert outcome["data"]["not_put_back"] == []
    assert states(outcome) == {
        **dict.fromkeys((*NAMES, "fresh"), "rolled_back"),
        **FAILED[len(outcome["data"]["steps"])],
    }
    tidied_a_day_later(agent)  # the kill may have come between the outcome and the removal
    assert list((agent.state_dir / "rollback").iterdir()) == []
    assert agent.cli("history", "--verify").returncode == 0
    return outcome


def tidied_a_day_later(agent: Agent) -> None:
    journal = agent.journal()
    try:
        journal.remember("tidied_at", None)
        tidy(agent.config, journal)
    finally:
        journal.close()


#: By the number of outer steps.
FAILED = {5: {"fails": "failed"}, 3: {"fails": "failed", "inner": "failed"}}

MOMENTS = ["open 1 a", "note_undone 1 b", "note_undone 2 a", "note_undone 4 b", "note_undone 4 a", "drop 1 b"]


@pytest.mark.parametrize("nested", [False, True], ids=["chain", "chain in a chain"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_it_goes_on_from_any_moment(agent: Agent, moment: str, nested: bool) -> None:
    prepared(agent)
    killed(agent, moment, "composite", "-", payload=chain(agent.root, nested=nested))
    outcome = check_rolled_back(agent)
    if not moment.startswith("drop"):  # it has told its outcome by then
        assert outcome["status"] == "interrupted"
        assert "all of it is put back now; it had failed: step" in outcome["error"]["message"]
        assert outcome["error"]["details"]["step"] == ("inner" if nested else "fails")


@pytest.mark.parametrize("first", MOMENTS[:3])
def test_it_goes_on_after_a_crash_in_its_going_on(agent: Agent, first: str) -> None:
    prepared(agent)
    killed(agent, first, "composite", "-", payload=chain(agent.root))
    killed(agent, "note_undone 2 b", "history")
    outcome = check_rolled_back(agent)
    assert "ended, 2 times while it was rolled back" in outcome["error"]["message"]


def test_the_third_crash_is_the_last(agent: Agent) -> None:
    prepared(agent)
    killed(agent, "open 1 a", "composite", "-", payload=chain(agent.root))
    for _ in range(2):
        killed(agent, "note_undone 1 b", "history")
    (run,) = agent.json("history")
    assert {name: (agent.root / name).read_text() for name in NAMES} == OLD
    assert run["outcome"]["status"] == "interrupted"
    assert "it has crashed its run 3 times" in run["outcome"]["error"]["message"]
    assert "what its steps did beyond files may not have been put back" in run["outcome"]["error"]["message"]
    assert list((agent.state_dir / "rollback").iterdir()) == []


def test_killed_at_any_effect_and_again_in_the_going_on(tmp_path: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    nested = chance.choice([False, True])
    reference = prepared(new_agent(tmp_path / "reference"))
    forth = effects(reference, "composite", "-", payload=chain(reference.root, nested=nested))
    of_the_record = [number for number, line in enumerate(forth) if "/rollback/" in line]
    first = next(number for number in of_the_record if forth[number].startswith("rename"))
    in_rollback = range(first + 1, of_the_record[-1])  # the last one removes it
    once = prepared(new_agent(tmp_path / "once"))
    run_until(once, forth, first + 1, "composite", "-", payload=chain(once.root, nested=nested))
    back = effects(once, "history")
    seen: Counter[str] = Counter()
    for number in range(rounds // 4):
        agent = prepared(new_agent(tmp_path / str(number)))
        payload = chain(agent.root, nested=nested)
        run_until(agent, forth, chance.choice(in_rollback), "composite", "-", payload=payload)
        run_until(agent, back, chance.randrange(len(back)), "history")
        seen[check_rolled_back(agent)["status"]] += 1
        shutil.rmtree(agent.base)
    print(f"{rounds // 4} rounds, in one of {len(in_rollback)} effects and then of {len(back)}: {dict(seen)}")
    assert seen["interrupted"]


def new_agent(base: Path) -> Agent:
    base.mkdir()
    return Agent(base)


def effects(agent: Agent, *words: str, payload: Any = None) -> list[str]:
    """The effects of a run that comes to its end, as strace tells of them."""
    log = agent.base / "strace"
    traced(agent, ["-f", "--seccomp-bpf", "-y", "-o", str(log), "-e", f"trace={ON_DISK}"], *words, payload=payload)
    return [line.partition(" ")[2].lstrip() for line in log.read_text().splitlines() if "(" in line]


def run_until(agent: Agent, effects: list[str], number: int, *words: str, payload: Any = None) -> None:
    """Run ``letsbe`` up to one of the effects that a run like it had."""
    call = effects[number].partition("(")[0]
    same = sum(1 for line in effects[: number + 1] if line.startswith(f"{call}("))
    options = ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={same}"]
    traced(agent, options, *words, payload=payload)


def traced(agent: Agent, options: list[str], *words: str, payload: Any) -> None:
    subprocess.run(
        ["strace", "-qq", *options, *program(), *words],
        input=json.dumps(payload).encode(),
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )


class TestStepsGivenForTheRollback:
    """They are run once each, but for one that was cut off and is safe to run again."""

    def payload(self, agent: Agent) -> dict[str, Any]:
        note = {"path": f"{agent.root}/note", "content": "noted\n", "mode": "append"}
        env = {"path": f"{agent.root}/env", "set": {"UNDONE": "1"}, "create": True}
        last = {**note, "content": "last\n"}
        rollback = [
            {"id": "note", "type": "FILE_WRITE", "payload": note},
            {"id": "env", "type": "ENV_UPDATE", "payload": env},
            {"id": "last", "type": "FILE_WRITE", "payload": last},
        ]
        return chain(agent.root, rollback=rollback)

    @pytest.mark.parametrize(
        "moment", ["open 1 a", "note_ended 1 a", "note_begun 2 a", "note_ended 2 b", "note_ended 3 a"]
    )
    def test_what_is_left_of_them_runs(self, agent: Agent, moment: str) -> None:
        prepared(agent)
        killed(agent, moment, "composite", "-", payload=self.payload(agent))
        (outcome,) = resumed(agent)
        assert (agent.root / "note").read_text() == "noted\nlast\n"
        assert (agent.root / "env").read_text() == "UNDONE=1\n"
        assert (agent.root / "a").read_text() == "new\n", "they run instead of the putting back"
        assert [(step["id"], step["state"]) for step in outcome.data["rollback"]] == [
            ("note", "ok"), ("env", "ok"), ("last", "ok"),
        ]  # fmt: skip
        assert outcome.data["not_put_back"] == []
        assert outcome.changed is True
        assert outcome.error is not None
        assert "the rollback steps have run to their end now" in outcome.error.message

    @pytest.mark.parametrize(("moment", "noted"), [("note_begun 1 a", ""), ("note_ended 1 b", "noted\n")])
    def test_one_that_is_not_safe_to_run_again_is_told(self, agent: Agent, moment: str, noted: str) -> None:
        prepared(agent)
        killed(agent, moment, "composite", "-", payload=self.payload(agent))
        (outcome,) = resumed(agent)
        assert (agent.root / "note").read_text() == f"{noted}last\n"
        assert [step["state"] for step in outcome.data["rollback"]] == ["failed", "ok", "ok"]
        (problem,) = outcome.data["not_put_back"]
        assert problem.startswith("rollback step note: it was under way when its process ended")
        assert outcome.error is not None
        assert problem in outcome.error.message


def test_a_chain_that_went_on_past_one_inside_that_was_put_back(agent: Agent) -> None:
    """The crash comes in the outer rollback; what the inner one has done is known, and is not done again."""
    prepared(agent)
    inner = {"id": "inner", "type": "COMPOSITE", "payload": chain(agent.root), "on_error": "continue"}
    after = {"id": "after", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/c", "content": "after\n"}}
    fails = chain(agent.root)["steps"][-1]
    killed(agent, "note_undone 5 b", "composite", "-", payload={"steps": [inner, after, fails]})
    (outcome,) = resumed(agent)
    assert held(agent) == OLD
    assert [step["state"] for step in outcome.data["steps"]] == ["failed", "rolled_back", "failed"]
    assert outcome.data["rolled_back"] is True


def test_a_crash_in_a_step_after_a_chain_inside_was_put_back_is_none_in_a_rollback(agent: Agent) -> None:
    prepared(agent)
    inner = {"id": "inner", "type": "COMPOSITE", "payload": chain(agent.root), "on_error": "continue"}
    after = {"id": "after", "type": "FILE_WRITE", "payload": {"path": f"{agent.root}/c", "content": "after\n"}}
    killed(agent, "drop 1 a", "composite", "-", payload={"steps": [inner, after]})
    (outcome,) = resumed(agent)
    assert held(agent) == OLD
    assert outcome.error is not None
    assert "ended at step inner" in outcome.error.message
    assert "rolled back" not in outcome.error.message


def test_without_the_record_the_files_come_back_all_the_same(agent: Agent) -> None:
    """A full disk took none."""
    prepared(agent)
    killed(agent, "note_undone 1 a", "composite", "-", payload=chain(agent.root))
    (record,) = (agent.state_dir / "rollback").iterdir()
    record.unlink()
    (outcome,) = resumed(agent)
    assert {name: (agent.root / name).read_text() for name in NAMES} == OLD
    assert outcome.error is not None
    assert "what its steps did beyond files may not have been put back" in outcome.error.message


def test_a_line_that_was_cut_short_does_not_count(agent: Agent) -> None:
    prepared(agent)
    killed(agent, "note_undone 2 a", "composite", "-", payload=chain(agent.root))
    (record,) = (agent.state_dir / "rollback").iterdir()
    record.write_bytes(record.read_bytes()[:-5])
    killed(agent, "note_undone 2 a", "history")
    assert all(json.loads(line) for line in record.read_text().splitlines())
    check_rolled_back(agent)


def test_what_somebody_changed_meanwhile_is_left_alone(agent: Agent) -> None:
    (agent.root / "a").write_text("old\n")
    journal = agent.journal()
    steps = chain(agent.root)
    steps["steps"] = [steps["steps"][0], steps["steps"][-1]]
    inject = f"inject={RENAMES}:signal=SIGKILL:when=2"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(agent.root), "-e", f"trace={RENAMES}", "-e", inject]
    command = [*tracing, *program(), "composite", "-"]
    subprocess.run(command, input=json.dumps(steps).encode(), env=agent.environment(), capture_output=True, check=False)
    (agent.root / "a").write_text("a person's\n")
    (run,) = agent.json("history")
    assert (agent.root / "a").read_text() == "a person's\n"
    assert "was changed since; not put back" in run["outcome"]["error"]["message"]
    journal.close()
