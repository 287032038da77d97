"""A pytest plugin for build/test: a test that was skipped or expected to fail makes the run fail."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run that left something out into a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left_out = [kind for kind in ("skipped", "xfailed") if reporter and reporter.stats.get(kind)]
    if left_out and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"build/test: some tests were {' and '.join(left_out)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
