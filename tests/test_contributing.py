"""CONTRIBUTING.md's example is a task type that works."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from letsbe.executors import EXECUTOR_REGISTRY
from letsbe.executors.base import BaseExecutor
from tests.agents import Agent
from tests.test_executors import test_conformance as conformance
from tests.test_executors.test_conformance import prepared  # noqa: F401 - a fixture

PAGE = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text()
MODULE = "letsbe.executors.line_add"
CONFORMANCE = [
    function
    for name, function in vars(conformance).items()
    if name.startswith("test_") and "task_type" in inspect.signature(function).parameters
]


def shown(name: str) -> str:
    """A code block of the page, by the comment above it."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```python\n(.*?)```\n", PAGE, re.DOTALL)
    assert found, name
    return found[1]


OWN_TEST = shown("tests/test_executors/test_line_add.py")


@pytest.fixture(autouse=True)
def line_add(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's file is there, and its line stands in the registry."""
    file = tmp_path_factory.mktemp("example") / "line_add.py"
    file.write_text(shown("letsbe/executors/line_add.py"))
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, MODULE, module)
    spec.loader.exec_module(module)
    for task_type, where in ast.literal_eval(f"{{{shown('registry line')}}}").items():
        monkeypatch.setitem(EXECUTOR_REGISTRY, task_type, where)


@pytest.mark.parametrize("check", CONFORMANCE, ids=lambda function: function.__name__)
def test_the_example_conforms(check: Any, request: pytest.FixtureRequest) -> None:
    arguments = {"task_type": "LINE_ADD", "payload": "text"}
    check(**{name: arguments.get(name) or request.getfixturevalue(name) for name in _parameters(check)})


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", OWN_TEST, re.MULTILINE))
def test_the_examples_own_tests_pass(name: str, agent: Agent) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(OWN_TEST, "CONTRIBUTING.md", "exec"), namespace)
    namespace[name](agent)


def test_the_table_of_slots_is_the_contract() -> None:
    told = set(re.findall(r"`(\w+)(?:\(\))?`", " ".join(re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE))))
    contract = {name for name in vars(BaseExecutor) if not name.startswith("_")} | set(BaseExecutor.__annotations__)
    assert contract - {"payload_type", "data_type"} <= told


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)
