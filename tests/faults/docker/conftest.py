"""The matrix of what befalls stacks: real stacks on the real engine, a fault each, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

pytest.register_assert_rewrite("tests.faults.docker.judging")

from tests.faults.docker.case import Case, Row  # noqa: E402
from tests.faults.docker.judging import judge  # noqa: E402
from tests.faults.docker.scene import Scene  # noqa: E402

_WIDTH = 160
_PROPERTY = "fault matrix"


@pytest.fixture(scope="module")
def shared(
    engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Scene]]:
    """The scene of a module's cases that share a stack; starts when it is first asked for, with those that run."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    mine = [one.callspec.params["case"] for one in items if one.module is request.module and hasattr(one, "callspec")]
    cases = [case for case in mine if isinstance(case, Case) and not case.alone]
    with ExitStack() as stack:
        scenes: list[Scene] = []

        def scene() -> Scene:
            if not scenes:
                scenes.append(stack.enter_context(Scene(tmp_path_factory.mktemp("scene"), cases).played()))
            return scenes[0]

        yield scene


@pytest.fixture
def matrix(
    shared: Callable[[], Scene],
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, Any], None],
) -> Callable[[Case], None]:
    """Judges a case, and has its row printed at the end of the run."""

    def run(case: Case) -> None:
        with ExitStack() as stack:
            own = Scene(tmp_path_factory.mktemp("alone"), [case]) if case.alone else None
            row = judge(stack.enter_context(own.played()) if own else shared(), case)
        record_property(_PROPERTY, row)

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what letsbe says and what plain commands say, side by side."""
    reports = terminalreporter.getreports("passed")
    rows = [Row(*value) for one in reports for name, value in one.user_properties if name == _PROPERTY]
    if not rows:
        return
    table = Table("case", "letsbe", "a plain command", title="faults of stacks", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(width=_WIDTH, file=None, record=False, no_color=True)
    with console.capture() as printed:
        console.print(table, markup=False)
    terminalreporter.section("fault matrix")
    terminalreporter.write_line(printed.get())
