"""A key that is trusted for some paths only: its tasks stay there, however they are wrapped."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.agent.caller import this_caller
from letsbe.agent.outcomes import Request
from letsbe.agent.runner import Runner
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect


def run(agent: Agent, task_type: str, payload: Any, *, paths: list[str] | None) -> Outcome:
    for name in ("a", "b"):
        (agent.root / name).mkdir(exist_ok=True)
    (agent.root / "b" / ".env").write_text("A=1\n")
    runner = Runner(agent.config, origin="orchestrator", caller=this_caller(), paths=paths)
    return runner.run(Request(type=task_type, payload=payload))


def step(kind: str, **payload: Any) -> dict[str, Any]:
    return {"steps": [{"id": "s", "type": kind, "payload": payload}]}


OUTSIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "write": ("FILE_WRITE", {"path": "{root}/b/new", "content": "x"}),
    "read": ("FILE_INSPECT", {"path": "{root}/b/.env", "mode": "head"}),
    "list": ("FILE_INSPECT", {"path": "{root}", "mode": "list"}),
    "env": ("ENV_UPDATE", {"path": "{root}/b/.env", "set": {"A": "2"}}),
    "working directory": ("SHELL", {"argv": ["/usr/bin/uptime"], "cwd": "{root}/b"}),
    "guard": ("SHELL", {"argv": ["/usr/bin/uptime"], "creates": "{root}/b/.env"}),
    "step": ("COMPOSITE", step("FILE_WRITE", path="{root}/b/new", content="x")),
    "step in a step": ("COMPOSITE", step("COMPOSITE", **step("ENV_UPDATE", path="{root}/b/.env", set={"A": "2"}))),
    "composed path": (
        "COMPOSITE",
        {"vars": {"there": "b"}, **step("FILE_WRITE", path="{root}/${vars.there}/new", content="x")},
    ),
}


def below(root: str, value: Any) -> Any:
    """A payload with ``{root}`` replaced."""
    if isinstance(value, dict):
        return {key: below(root, item) for key, item in value.items()}
    if isinstance(value, list):
        return [below(root, item) for item in value]
    return value.replace("{root}", root) if isinstance(value, str) else value


@pytest.mark.parametrize(("kind", "payload"), list(OUTSIDE.values()), ids=list(OUTSIDE))
def test_what_is_outside_the_key_s_paths_is_refused(agent: Agent, kind: str, payload: dict[str, Any]) -> None:
    payload = below(str(agent.root), payload)
    outcome = run(agent, kind, payload, paths=[f"{agent.root}/a"])
    assert outcome.error is not None
    assert "path_refused" in (outcome.error.code, outcome.error.details.get("code"))
    assert "of the key that signed this task" in outcome.error.message
    assert not (agent.root / "b" / "new").exists()
    assert (agent.root / "b" / ".env").read_text() == "A=1\n"
    assert run(agent, kind, payload, paths=None).success  # it was the key's refusal


def test_the_key_s_paths_hold_for_a_task_that_was_polled(orchestrator: Orchestrator, agent: Agent) -> None:
    (agent.root / "a").mkdir()
    key = {"public_key": orchestrator.home.public_key(), "paths": [f"{agent.root}/a"]}
    connect(agent, orchestrator, trusted_keys={"main": key})
    agent.cli("poll")
    tasks = [
        orchestrator.submit("FILE_WRITE", {"path": f"{agent.root}/{name}", "content": "x"}, agent=agent_id(agent))
        for name in ("a/inside", "outside")
    ]
    agent.cli("poll")
    inside, outside = map(orchestrator.outcome, tasks)
    assert inside is not None
    assert inside["status"] == "succeeded"
    assert outside is not None
    assert (outside["status"], outside["error"]["code"]) == ("refused", "path_refused")
    assert not (agent.root / "outside").exists()
