"""What import-linter can't say: registered executors know nothing of each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from letsbe.executors import EXECUTOR_REGISTRY

EXECUTORS = Path(__file__).parent.parent / "letsbe" / "executors"
MODULES = {target.partition(":")[0] for target in EXECUTOR_REGISTRY.values()}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_executors_do_not_import_each_other(module: str) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse((EXECUTORS / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    others = {f"letsbe.executors.{name}" for name in MODULES - {module}}
    assert not imported & others
