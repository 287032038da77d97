"""What the hand-written pages show is valid: JSON, YAML, command lines, and the names in backticks."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import pytest
import yaml

from letsbe import protocol
from letsbe.agent import config, payloads
from letsbe.agent.schema import data_schema, payload_schema
from letsbe.cli.main import letsbe
from letsbe.errors import FATES
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.executors.base import BaseExecutor
from letsbe.orchestrator.cli import orchestrator
from letsbe.orchestrator.home import Settings
from tests.agents import Agent

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PROGRAMS = {"letsbe": letsbe, "letsbe-orchestrator": orchestrator}
REFERENCE = runpy.run_path(str(ROOT / "build" / "reference.py"))


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language in the pages."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(match[1], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 2}")
        for page in PAGES
        for match in fence.finditer(page.read_text())
    ]


def command_lines() -> Iterator[Any]:
    """Every line of a ``sh`` block that starts a program of ours, as its words."""
    for block in blocks("sh"):
        for line in block.values[0].splitlines():
            words = shlex.split(line.rpartition(" | ")[2].partition(" > ")[0].removeprefix("sudo "), comments=True)
            if words and words[0].removeprefix("./") in PROGRAMS:
                yield pytest.param([words[0].removeprefix("./"), *words[1:]], id=line[:60])


@pytest.mark.parametrize("text", blocks("json"))
def test_json_parses(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("text", [block for block in blocks("json") if '"steps"' in block.values[0]])
def test_chains_work(text: str, agent: Agent) -> None:
    (agent.root / "app").mkdir()
    (agent.root / "app" / ".env").write_text("LOG_LEVEL=info\n")
    outcome = agent.run("COMPOSITE", json.loads(text.replace("/opt/letsbe", str(agent.root))))
    assert outcome.error is None
    assert [step["state"] for step in outcome.data["steps"]] == ["ok"] * len(outcome.data["steps"])


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configurations_are_accepted(text: str) -> None:
    if text.startswith("# orchestrator.yml"):
        msgspec.convert(yaml.safe_load(text), Settings)
    else:
        parsed = config.parse(text.encode(), "documentation")
        assert all(len(key.public_key) == 44 for key in parsed.orchestrator.trusted_keys.values())


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_are_accepted(words: list[str]) -> None:
    context = PROGRAMS[words[0]].make_context(words[0], words[1:])
    group = context.command
    assert isinstance(group, click.Group)
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    assert name is not None
    rest = _with_existing_files(command, rest)
    values = command.make_context(name, rest, parent=context).params
    task_type = (values.get("task_type") or name).upper().replace("-", "_")
    payload = values.get("payload")
    if task_type in EXECUTOR_REGISTRY and isinstance(payload, str) and payload.startswith("{"):
        payloads.decode(payloads.parse_json(payload.encode()), executor_class(task_type).payload_type, task_type)


def test_words_in_backticks_are_names_that_exist() -> None:
    known = _known_names()
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$|^    .*?$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for word in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", prose):
            assert word in known, f"{page.name}: `{word}`"


def test_the_states_of_an_outcome_are_told() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    for status in get_args(protocol.Status):
        assert f"| `{status}` |" in page


def test_every_exit_code_is_told() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "operations.md"):
        text = page.read_text()
        assert all(re.search(rf"\b{fate.exit_code}\b", text) for fate in FATES.values()), page.name


def _with_existing_files(command: click.Command, words: list[str]) -> list[str]:
    """The words of a command line, /dev/null in place of files that Click would open."""
    opened = {name for parameter in command.params if isinstance(parameter.type, click.File) for name in parameter.opts}
    return ["/dev/null" if before in opened else word for before, word in zip(["", *words], words, strict=False)]


def _known_names() -> set[str]:
    """Error codes, and the fields of everything that is read, written or sent."""
    names = {*FATES, *(code for _, code in REFERENCE["raised_codes"]()), *vars(BaseExecutor)}
    names |= {*BaseExecutor.__annotations__, *get_args(protocol.Status)}
    structs = [kind for kind in vars(protocol).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    structs = [kind for kind in (*structs, config.Config, Settings) if kind is not msgspec.Struct]
    schemas = list(msgspec.json.schema_components(structs)[1].values())
    for name in EXECUTOR_REGISTRY:
        for schema in (payload_schema(name), data_schema(name)):
            schemas += [schema, *schema.get("$defs", {}).values()]
    return names.union(*(schema.get("properties", {}) for schema in schemas))
