from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent import log
from tests.agents import Agent


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log" / "letsbe.log"
    log.configure(file=str(path), level="info")
    yield path
    log.configure(file=None, level="info")
    log.bind(task_id=None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_json_with_time_level_and_what_is_bound(file: Path) -> None:
    log.bind(task_id="some-task")
    log.logger().info("run ended", changed=True)
    log.bind(task_id=None)
    log.logger().warning("later")
    first, second = lines(file)
    assert first["event"] == "run ended"
    assert (first["level"], first["changed"], first["task_id"]) == ("info", True, "some-task")
    assert first["timestamp"].endswith("Z")
    assert "task_id" not in second


def test_levels(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.logger().debug("no")
    log.logger().info("file only")
    log.logger().warning("both", reason="why")
    assert [line["event"] for line in lines(file)] == ["file only", "both"]
    assert capfd.readouterr().err == "letsbe: warning: both reason=why\n"
    log.configure(file=str(file), level="warning", verbose=2)
    log.logger().debug("shown")
    assert capfd.readouterr().err == "letsbe: debug: shown\n"
    assert len(lines(file)) == 2


def test_traceback_goes_to_the_file(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("seeded")
    except ZeroDivisionError as error:
        log.logger().error("internal error", exc_info=error)
    assert "ZeroDivisionError: seeded" in lines(file)[0]["exception"]
    assert "seeded" not in capfd.readouterr().err


def test_rotation_keeps_three_old_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "ROTATE_BYTES", 300)
    for number in range(40):
        log.logger().info("line", number=number)
    assert sorted(os.listdir(file.parent)) == ["letsbe.log", "letsbe.log.1", "letsbe.log.2", "letsbe.log.3"] or sorted(
        os.listdir(file.parent)
    ) == ["letsbe.log.1", "letsbe.log.2", "letsbe.log.3"]
    kept = [line["number"] for name in (".3", ".2", ".1") for line in lines(Path(f"{file}{name}"))]
    assert kept == list(range(kept[0], kept[0] + len(kept)))


def test_log_that_can_not_be_written_does_not_stop_the_work(agent: Agent) -> None:
    agent.configure(log={"file": "/proc/none/letsbe.log"})
    done = agent.cli("file-write", json.dumps({"path": f"{agent.root}/x", "content": "x"}))
    assert done.returncode == 0
    assert json.loads(done.stdout)["success"] is True
    assert b"log file /proc/none/letsbe.log" in done.stderr


def test_every_changing_run_leaves_a_line(agent: Agent) -> None:
    outcome = agent.json("file-write", json.dumps({"path": f"{agent.root}/x", "content": "x"}))
    (line,) = lines(agent.log_file)
    assert line["task_id"] == outcome["task_id"]
    assert (line["type"], line["origin"], line["changed"]) == ("FILE_WRITE", "local", True)
    agent.cli("echo", "{}")
    assert len(lines(agent.log_file)) == 1
