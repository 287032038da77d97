"""What import-linter can't say: registered executors know nothing of each other; one module prepares structs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from letsbe.executors import EXECUTOR_REGISTRY

PACKAGE = Path(__file__).parent.parent / "letsbe"
EXECUTORS = PACKAGE / "executors"
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


def test_structs_are_decoded_by_one_module() -> None:
    """A process with threads can die of msgspec's own functions: see :mod:`letsbe.decoding`."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name != "decoding.py":
                called = ast.unparse(node.func)
                typed = any(keyword.arg == "type" for keyword in node.keywords)
                if called in ("msgspec.convert", "msgspec.json.Decoder") or (called.endswith("json.decode") and typed):
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {called}")
    assert found == []
