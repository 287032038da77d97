"""DOCKER_RELOAD on stacks of every shape: dependencies, one-shots, scale, builds, databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent.caller import this_caller
from letsbe.agent.outcomes import Request
from letsbe.agent.runner import Runner
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.engine import IMAGE, Stack, docker
from tests.registry import Registry

SLEEP = f'image: "{IMAGE}", stop_grace_period: 0s'
Up = Callable[[str], Stack]


@pytest.fixture
def up(agent: Agent, engine: str) -> Iterator[Up]:
    """Makes stacks, which are taken away at the end."""
    made: list[Stack] = []

    def make(compose: str) -> Stack:
        made.append(Stack(agent.root / f"stack{len(made)}", compose))
        return made[-1]

    yield make
    for stack in made:
        stack.compose("--profile", "*", "down", "-t", "0", "-v", "--remove-orphans", check=False)


def reload(agent: Agent, stack: Stack, /, **payload: Any) -> Outcome:
    check = payload.pop("check", False)
    fast = {"stack": stack.name, "pull": "never", "wait_timeout_s": 60, "stable_s": 0.3}
    return agent.run("DOCKER_RELOAD", {**fast, **payload}, check=check)


def actions(outcome: Outcome) -> dict[str, str]:
    return {f"{one['name']}.{one['number']}": one["action"] for one in outcome.data["services"]}


def declare(stack: Stack, compose: str) -> None:
    stack.write("compose.yaml", f"name: {stack.name}\n{compose}")


def test_what_waits_for_others_comes_up_in_order_and_one_shots_run_once(agent: Agent, up: Up) -> None:
    """Twice: compose alone would start the finished one-shot again."""
    text = f"""
services:
  db: {{{SLEEP}, healthcheck: {{test: [CMD, test, -e, /tmp], interval: 0.3s}}}}
  migrate:
    image: "{IMAGE}"
    command: [sh, -c, "echo @migration; exit 0"]
    depends_on: {{db: {{condition: service_healthy}}}}
  web: {{{SLEEP}, depends_on: {{migrate: {{condition: service_completed_successfully}}}}}}
  tool: {{{SLEEP}, profiles: [tools]}}
"""
    stack = up(text.replace("@migration", "1"))
    assert actions(reload(agent, stack)) == {"db.1": "created", "migrate.1": "created", "web.1": "created"}
    ran = stack.inspect("migrate")["State"]["StartedAt"]
    again = reload(agent, stack)
    assert again.error is None
    assert not again.changed
    assert stack.inspect("migrate")["State"]["StartedAt"] == ran
    only_web = reload(agent, stack, services=["web"])
    assert (only_web.error, only_web.changed) == (None, False)
    declare(stack, text.replace("@migration", "2"))
    foreseen = reload(agent, stack, check=True)
    assert {one["name"]: one["reason"] for one in foreseen.data["services"] if one["action"] != "none"} == {
        "migrate": "differs from what is declared: command"
    }
    assert stack.inspect("migrate")["State"]["StartedAt"] == ran
    changed = reload(agent, stack)
    assert changed.error is None
    assert actions(changed)["migrate.1"] == "recreated"
    tool = reload(agent, stack, services=["tool"])
    assert actions(tool)["tool.1"] == "created"


def test_scale_orphans_and_what_was_stopped(agent: Agent, up: Up) -> None:
    stack = up(f"services: {{web: {{{SLEEP}, scale: 2}}, old: {{{SLEEP}}}, off: {{{SLEEP}}}}}\n")
    assert reload(agent, stack).error is None
    stack.compose("stop", "off")
    declare(stack, f"services: {{web: {{{SLEEP}, scale: 1}}, off: {{{SLEEP}}}}}\n")
    foreseen = reload(agent, stack, check=True)
    first = reload(agent, stack)
    assert first.error is None
    assert actions(first) == {"web.1": "none", "web.2": "removed", "old.1": "none", "off.1": "restarted"}
    assert actions(foreseen) == actions(first)
    assert reload(agent, stack, check=True).changed is False
    second = reload(agent, stack, remove_orphans=True)
    assert actions(second) == {"web.1": "none", "old.1": "removed", "off.1": "none"}


@pytest.mark.parametrize("beside", [False, True], ids=["instead of the old one", "beside it"])
def test_a_container_that_a_killed_compose_left_half_way(agent: Agent, up: Up, beside: bool) -> None:
    stack = up(f"services: {{web: {{{SLEEP}}}}}\n")
    assert reload(agent, stack).error is None
    name = stack.container("web")
    half_way = f"{stack.inspect('web')['Id'][:12]}_{name}"
    assert reload(agent, stack, recreate="always").error is None
    docker("rename", name, half_way)
    if beside:
        labels = stack_labels(half_way)
        docker("create", "--name", name, "--network", f"{stack.name}_default", "--stop-timeout", "0", *labels, IMAGE)
    mended = reload(agent, stack)
    assert mended.error is None
    names = docker("ps", "--filter", f"label=com.docker.compose.project={stack.name}", "--format", "{{.Names}}")
    assert names.split() == [name]
    assert reload(agent, stack).changed is False


def stack_labels(container: str) -> list[str]:
    """Options that give another container the labels of one."""
    found = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", container))
    return [option for key, value in found.items() for option in ("--label", f"{key}={value}")]


def test_what_is_built(agent: Agent, up: Up) -> None:
    stack = up("services: {web: {build: ., stop_grace_period: 0s}}\n")
    stack.write("Dockerfile", f"FROM {IMAGE}\nLABEL version=1\n")
    absent = reload(agent, stack)
    assert absent.error is not None
    assert (absent.error.code, absent.error.hint) == ("image_missing", "Send build: true.")
    assert not absent.changed
    built = reload(agent, stack, build=True)
    assert built.error is None
    assert actions(built) == {"web.1": "created"}
    assert not reload(agent, stack, build=True).changed
    stack.write("Dockerfile", f"FROM {IMAGE}\nRUN exit 7\n")
    broken = reload(agent, stack, build=True)
    assert broken.error is not None
    assert broken.error.code == "build_failed"
    assert "7" in broken.error.message
    assert not broken.changed
    docker("image", "rm", "--force", f"{stack.name}-web", check=False)


def test_a_service_that_was_broken_before_does_not_fail_the_others(agent: Agent, up: Up) -> None:
    text = f"""
services:
  web: {{{SLEEP}, environment: {{VERSION: "1"}}}}
  broken: {{image: "{IMAGE}", command: [sh, -c, "exit 1"], restart: always}}
"""
    stack = up(text)
    first = reload(agent, stack, wait_timeout_s=6, stable_s=2, rollback=False)
    assert first.error is not None
    assert "restarted" in first.error.message
    declare(stack, text.replace('"1"', '"2"'))
    second = reload(agent, stack)
    assert second.error is None
    assert actions(second)["web.1"] == "recreated"
    assert any("broken was not up before" in warning for warning in second.warnings)


def test_a_stack_that_never_ran_is_taken_away_again(agent: Agent, up: Up) -> None:
    stack = up(f"""services: {{web: {{{SLEEP}}}, broken: {{image: "{IMAGE}", command: [sh, -c, "exit 5"]}}}}\n""")
    outcome = reload(agent, stack)
    assert outcome.error is not None
    assert outcome.error.message.startswith("not up after 0 s: broken exited with 5")
    assert outcome.data["rolled_back"] is True
    assert stack.compose("ps", "--all", "--quiet") == ""


def test_a_container_of_the_stack_that_comes_late_is_no_conflict(agent: Agent, up: Up) -> None:
    """As the engine may make one for a compose that was killed; here until the second attempt."""
    stack = up(f"services: {{web: {{{SLEEP}}}}}\n")
    label = f"com.docker.compose.project={stack.name}"
    docker("run", "-d", "--name", f"{stack.name}-web-1", "--label", label, IMAGE, "sleep", "1000")
    attempts = []

    def told(step: str, *_: object) -> None:
        if step == "create":
            attempts.append(step)
            if len(attempts) == 2:
                docker("rm", "--force", f"{stack.name}-web-1")

    runner = Runner(agent.config, origin="local", caller=this_caller())
    runner.on_progress = told
    payload = {"stack": str(stack.directory), "pull": "never", "wait_timeout_s": 60, "stable_s": 0.3}
    outcome = runner.run(Request(type="DOCKER_RELOAD", payload=payload))
    assert outcome.error is None
    assert actions(outcome) == {"web.1": "created"}
    assert len(attempts) == 2


def test_containers_of_another_project_are_not_doubled(agent: Agent, up: Up) -> None:
    stack = up(f"services: {{web: {{{SLEEP}}}}}\n")
    other = ("--project-name", f"{stack.name}other")
    try:
        stack.compose(*other, "up", "-d")
        outcome = reload(agent, stack, stack=str(stack.directory))
        assert outcome.error is not None
        assert outcome.error.code == "project_differs"
        assert reload(agent, stack, stack=other[1]).error is None
        assert stack.compose("ps", "--all", "--quiet") == ""
    finally:
        stack.compose(*other, "down", "-t", "0")


@pytest.fixture
def databases(registry: Registry) -> Iterator[Callable[..., str]]:
    """Makes images that say that they are a version of MySQL."""
    made: list[str] = []

    def make(reference: str, version: str, command: str) -> str:
        made.append(reference)
        return registry.build(reference, f"ENV MYSQL_VERSION={version}", f'CMD ["sh", "-c", "{command}"]')

    yield make
    for reference in made:
        docker("image", "rm", "--force", reference, check=False)


def test_a_database_that_has_run_in_a_newer_version_is_not_taken_back_unasked(
    agent: Agent, up: Up, registry: Registry, databases: Callable[..., str]
) -> None:
    image = registry.repository("db") + ":8"
    old = databases(image, "8.0.36-1.el9", "exec sleep 1000")
    service = f'{{image: "{image}", stop_grace_period: 0s, volumes: ["data:/d"]}}'
    stack = up(f"services: {{db: {service}}}\nvolumes: {{data: {{}}}}\n")
    assert reload(agent, stack).error is None
    new = databases(image, "8.4.1-1.el9", "echo upgrading; exit 1")
    refused = reload(agent, stack)
    assert refused.error is not None
    assert refused.error.code == "rollback_refused"
    assert "db was mysql 8.0.36 and has run as mysql 8.4.1" in refused.error.message
    assert "backup" in refused.error.hint
    assert refused.data["rolled_back"] is False
    assert stack.inspect("db")["Image"] == new
    docker("tag", old, image)
    assert reload(agent, stack).error is None
    docker("tag", new, image)
    forced = reload(agent, stack, rollback_databases=True)
    assert forced.data["rolled_back"] is True
    assert stack.inspect("db")["Image"] == old


def test_a_stack_is_reloaded_by_one_at_a_time(agent: Agent, up: Up, tmp_path: Path) -> None:
    from letsbe.agent.locks import Locks, holder_now

    stack = up(f"services: {{web: {{{SLEEP}}}}}\n")
    agent.state_dir.mkdir(exist_ok=True)
    with Locks(str(agent.state_dir)).hold({f"stack:{stack.directory}"}, holder_now("DOCKER_RELOAD", None)):
        outcome = reload(agent, stack)
    assert outcome.error is not None
    assert outcome.error.code == "busy"
    assert stack.compose("ps", "--all", "--quiet") == ""


def test_the_first_deployment_can_be_a_composite(agent: Agent, up: Up) -> None:
    """The compose file is not there when the locks are taken."""
    stack = up("")
    path = stack.directory / "compose.yaml"
    path.unlink()
    content = f"name: {stack.name}\nservices: {{web: {{{SLEEP}}}}}\n"
    steps = [
        {"id": "file", "type": "FILE_WRITE", "payload": {"path": str(path), "content": content}},
        {
            "id": "up",
            "type": "DOCKER_RELOAD",
            "payload": {"stack": str(stack.directory), "pull": "never", "stable_s": 0},
        },
    ]
    outcome = agent.run("COMPOSITE", {"steps": steps})
    assert outcome.error is None
    assert stack.inspect("web")["State"]["Running"]
    path.unlink()
    stack.compose("--project-name", stack.name, "down", "-t", "0", check=False)
    failing = {
        "id": "look",
        "type": "FILE_INSPECT",
        "payload": {"path": str(stack.directory / "missing"), "mode": "stat"},
    }
    undone = agent.run("COMPOSITE", {"steps": [*steps, failing]})
    assert undone.data["rolled_back"] is True, undone.data["not_put_back"]
    assert not path.exists()
    assert docker("ps", "--all", "--quiet", "--filter", f"name={stack.name}") == ""


def test_what_is_optional_and_off_is_neither_fetched_nor_waited_for(agent: Agent, up: Up) -> None:
    stack = up(f"""
services:
  web: {{{SLEEP}, depends_on: {{db: {{condition: service_healthy, required: false}}}}}}
  db: {{image: "lt/not-here:1", profiles: [with-db]}}
""")
    assert actions(reload(agent, stack, check=True)) == {"web.1": "created"}
    first = reload(agent, stack)
    assert (first.error, actions(first)) == (None, {"web.1": "created"})
    assert not reload(agent, stack).changed
    stack.write(".env", "COMPOSE_PROFILES=with-db\n")
    missing = reload(agent, stack)
    assert missing.error is not None
    assert missing.error.code == "image_missing"
