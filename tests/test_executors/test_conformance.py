"""What every executor must do, inherited by standing in the registry."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import msgspec
import pytest
from click.testing import CliRunner

from letsbe.agent.config import Config
from letsbe.agent.schema import _secret_schema, data_schema, payload_schema
from letsbe.cli.executor_command import ExecutorCommand
from letsbe.cli.main import command_name
from letsbe.cli.payload_flags import flags
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from tests.agents import Agent, tree
from tests.engine import IMAGE, docker, running

every_executor = pytest.mark.parametrize("task_type", EXECUTOR_REGISTRY)

SECRET = "conformance-S3cret-value"
SAYS = "echo one; echo $DB_PASSWORD; exec sleep 1000"


CONTAINER = f"lt-conformance-{uuid.uuid4().hex[:10]}"
STACK = Path(tempfile.gettempdir(), CONTAINER)
COMPOSE = f"""services:
  web: {{image: "{IMAGE}", env_file: [app.env], stop_grace_period: 0s}}
"""


@pytest.fixture(scope="module")
def container(engine: str) -> Iterator[None]:
    """What examples may count on to run."""
    docker("run", "-d", "--name", CONTAINER, "-e", f"DB_PASSWORD={SECRET}", engine, "sh", "-c", SAYS)
    yield
    docker("rm", "-f", CONTAINER)


@pytest.fixture(scope="module")
def stack(engine: str) -> Iterator[None]:
    """A stack that is up, below a root of its own."""
    with running(STACK, COMPOSE, {"app.env": f"DB_PASSWORD={SECRET}\n"}):
        yield
    shutil.rmtree(STACK)


@pytest.fixture
def prepared(agent: Agent, request: pytest.FixtureRequest) -> Agent:
    """What examples may count on being in the root."""
    task_type = request.node.callspec.params.get("task_type", "ECHO") if hasattr(request.node, "callspec") else "ECHO"
    if "{container}" in json.dumps(executor_class(task_type).example):
        request.getfixturevalue("container")
    if "{stack}" in json.dumps(executor_class(task_type).example):
        request.getfixturevalue("stack")
        agent.configure(roots=[str(agent.root), str(STACK)])
    if "{root}/stack" in json.dumps(executor_class(task_type).example):
        image = request.getfixturevalue("engine")
        (agent.root / "stack").mkdir()
        compose = f"services: {{web: {{image: '{image}', scale: 0, env_file: app.env}}}}\n"
        (agent.root / "stack" / "compose.yaml").write_text(compose)
        (agent.root / "stack" / "app.env").write_text(f"DB_PASSWORD={SECRET}\n")
    (agent.root / "app.env").write_text(f"NAME=demo\nDB_PASSWORD={SECRET}\n")
    (agent.root / "notes.txt").write_text("one\ntwo\nthree\n")
    return agent


def example(task_type: str, root: Path) -> Any:
    text = json.dumps(executor_class(task_type).example)
    return json.loads(
        text.replace("{root}", str(root)).replace("{container}", CONTAINER).replace("{stack}", str(STACK))
    )


@every_executor
def test_declaration_is_complete(task_type: str) -> None:
    kind = executor_class(task_type)
    assert kind.type == task_type
    assert kind.__doc__
    assert kind.__doc__.partition("\n")[0].endswith((".", ";"))
    for struct in (kind.payload_type, kind.data_type):
        schema = msgspec.json.schema_components([struct], schema_hook=_secret_schema)[1]
        for name, definition in schema.items():
            for field, properties in definition.get("properties", {}).items():
                text = json.dumps(properties)
                known_elsewhere = name in ("Outcome", "ErrorInfo")
                assert '"description"' in text or known_elsewhere, f"{name}.{field} has no description"


@every_executor
def test_unknown_field_is_rejected_with_its_path(task_type: str, prepared: Agent) -> None:
    payload = {**example(task_type, prepared.root), "no_such_field": 1}
    outcome = prepared.run(task_type, payload)
    assert outcome.error is not None
    assert outcome.error.code == "invalid_payload"
    assert outcome.error.details["path"] == "$.no_such_field"
    assert outcome.error.hint


@every_executor
def test_wrong_type_is_rejected_with_its_path(task_type: str, prepared: Agent) -> None:
    for field in executor_class(task_type).payload_type.__struct_fields__:
        payload = {**example(task_type, prepared.root), field: [{"wrong": [12.5]}]}
        outcome = prepared.run(task_type, payload)
        assert outcome.error is not None, field
        assert outcome.error.code == "invalid_payload", field
        assert outcome.error.details["path"].startswith(f"$.{field}"), outcome.error


@every_executor
@pytest.mark.parametrize("payload", [[], "text", 1, None, True], ids=repr)
def test_payload_that_is_no_object_is_rejected(task_type: str, payload: Any, agent: Agent) -> None:
    outcome = agent.run(task_type, payload)
    assert outcome.error is not None
    assert outcome.error.code == "invalid_payload"


@every_executor
def test_help_describes_every_flag(task_type: str) -> None:
    kind = executor_class(task_type)
    command = ExecutorCommand(command_name(task_type), task_type)
    result = CliRunner().invoke(command, ["--help"], prog_name="letsbe", terminal_width=200)
    assert result.exit_code == 0
    for option in flags(kind.payload_type):
        assert isinstance(option, click.Option)
        assert option.opts[0] in result.output
        assert option.help, option.opts
    own = {name for option in flags(kind.payload_type) for name in option.opts}
    assert not own & {name for option in command._common() for name in option.opts}


@every_executor
def test_schemas_are_valid(task_type: str, prepared: Agent) -> None:
    for schema in (payload_schema(task_type), data_schema(task_type)):
        jsonschema_rs.meta.validate(schema)
    jsonschema_rs.validator_for(payload_schema(task_type)).validate(example(task_type, prepared.root))


@every_executor
def test_example_works_and_gives_what_its_schema_says(task_type: str, prepared: Agent) -> None:
    outcome = prepared.run(task_type, example(task_type, prepared.root))
    assert outcome.error is None
    assert outcome.success
    jsonschema_rs.validator_for(data_schema(task_type)).validate(outcome.data)


@every_executor
def test_check_mode_leaves_the_machine_as_it_was(task_type: str, prepared: Agent) -> None:
    prepared.config  # the configuration cache is written now  # noqa: B018
    before = tree(prepared.root, prepared.state_dir)
    outcome = prepared.run(task_type, example(task_type, prepared.root), check=True, diff=True)
    assert outcome.success
    assert outcome.check
    assert tree(prepared.root, prepared.state_dir) == before


@every_executor
def test_check_mode_foresees_changed(task_type: str, prepared: Agent) -> None:
    payload = example(task_type, prepared.root)
    foreseen = prepared.run(task_type, payload, check=True)
    assert prepared.run(task_type, payload).changed == foreseen.changed
    if not executor_class(task_type).not_idempotent:
        assert not prepared.run(task_type, payload, check=True).changed


@every_executor
def test_second_identical_run_changes_nothing(task_type: str, prepared: Agent) -> None:
    kind = executor_class(task_type)
    payload = example(task_type, prepared.root)
    first = prepared.run(task_type, payload)
    before = tree(prepared.root)
    second = prepared.run(task_type, payload)
    assert first.success
    if kind.not_idempotent:
        return
    assert not second.changed
    assert tree(prepared.root) == before


@every_executor
def test_only_changing_runs_are_journaled(task_type: str, prepared: Agent) -> None:
    prepared.run(task_type, example(task_type, prepared.root))
    journal = prepared.journal()
    try:
        runs = journal.latest(10)
    finally:
        journal.close()
    if executor_class(task_type).changes:
        assert [run.type for run in runs] == [task_type]
        assert runs[0].state == "finished"
    else:
        assert runs == []


@every_executor
def test_policy_is_asked_first(task_type: str, agent: Agent) -> None:
    agent.configure(policy={"local": {"deny": [task_type]}})
    outcome = agent.run(task_type, {})
    assert outcome.status == "refused"
    assert outcome.error is not None
    assert outcome.error.code == "policy_denied"
    assert "policy.local.deny" in outcome.error.message


@every_executor
def test_no_secret_of_the_root_leaves(task_type: str, prepared: Agent) -> None:
    outcome = prepared.run(task_type, example(task_type, prepared.root), diff=True)
    seen = [msgspec.json.encode(outcome)]
    seen += [path.read_bytes() for path in prepared.state_dir.glob("state.db*")]
    seen += [prepared.log_file.read_bytes()] if prepared.log_file.exists() else []
    assert not any(SECRET.encode() in text for text in seen)


def test_registry_names_each_type_once() -> None:
    kinds = {executor_class(name) for name in EXECUTOR_REGISTRY}
    assert len(kinds) == len(EXECUTOR_REGISTRY)
    assert Config().policy.local.allow == ["*"]
