"""The matrix of what befalls stacks: real stacks on the real engine, a fault each, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

pytest.register_assert_rewrite("tests.faults.docker.judging")

from tests.faults.docker.case import Case, Row  # noqa: E402
from tests.faults.docker.judging import judge  # noqa: E402
from tests.faults.docker.scene import Scene  # noqa: E402
from tests.faults.docker.table import PROPERTY  # noqa: E402
from tests.registry import Registry  # noqa: E402

#: Cases alone that run at once: they wait more than they work.
_SIDE_BY_SIDE = 6


@pytest.fixture(scope="module")
def judged(
    registry: Registry, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Row]]:
    """Judges the cases of a module that are to run: those that share a stack in turn, those alone side by side."""
    items = [one for one in request.session.items if isinstance(one, pytest.Function) and hasattr(one, "callspec")]
    params = [one.callspec.params.get("case") for one in items if one.module is request.module]
    cases = [case for case in params if isinstance(case, Case)]
    together = [case for case in cases if not case.alone]

    def alone(case: Case, base: Path) -> Row:
        with Scene(base, [case], registry).played() as scene:
            return judge(scene, case)

    with ExitStack() as stack:
        # pytest notes the current test in the environment, which these threads go through.
        stack.enter_context(patch("_pytest.runner._update_current_test_var"))
        pool = stack.enter_context(ThreadPoolExecutor(_SIDE_BY_SIDE))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        apart = {case.name: pool.submit(alone, case, tmp_path_factory.mktemp("alone")) for case in cases if case.alone}
        shared = Scene(tmp_path_factory.mktemp("shared"), together, registry)
        scene = stack.enter_context(shared.played()) if together else None
        yield lambda case: judge(scene, case) if scene and not case.alone else apart[case.name].result()


@pytest.fixture
def matrix(judged: Callable[[Case], Row], record_property: Callable[[str, Any], None]) -> Callable[[Case], None]:
    """Judges a case, and has its row printed at the end of the run."""
    return lambda case: record_property(PROPERTY, list(judged(case)))
