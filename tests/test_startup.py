"""What a start loads: every server pays for it every minute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator, orchestrator
from tests.test_agent.conftest import enrolled

__all__ = ["enrolled", "orchestrator"]

LIST_MODULES = """
import atexit, json, sys
path = sys.argv.pop(1)
atexit.register(lambda: open(path, "w").write(json.dumps(sorted(sys.modules))))
from letsbe.cli.main import main
main()
"""


def modules_loaded_by(agent: Agent, *words: str, env: dict[str, str] | None = None) -> set[str]:
    listing = agent.base / "modules.json"
    subprocess.run(
        [sys.executable, "-c", LIST_MODULES, str(listing), *words],
        env=agent.environment(env),
        check=True,
        capture_output=True,
        cwd=Path(__file__).parent.parent,
    )
    return set(json.loads(listing.read_text()))


def test_echo_loads_no_heavy_library(agent: Agent) -> None:
    agent.state_dir.mkdir()
    agent.cli("echo", "{}")  # the configuration is cached now
    loaded = modules_loaded_by(agent, "echo", '{"message": "hi"}')
    heavy = {
        "requests", "urllib3", "ssl", "docker", "cryptography", "rich", "yaml", "sqlite3", "structlog", "logging",
        "asyncio", "subprocess", "ctypes", "hashlib", "playwright", "filelock", "multiprocessing", "concurrent.futures",
        "letsbe.agent.journal", "letsbe.cli.draw",
    }  # fmt: skip
    assert sorted(loaded & heavy) == []
    executors = {name for name in loaded if name.startswith("letsbe.executors.")}
    assert executors == {"letsbe.executors.base", "letsbe.executors.echo"}


def test_the_gate_loads_no_more_than_the_executor_s_own_command(agent: Agent) -> None:
    agent.state_dir.mkdir()
    agent.cli("echo", "{}")  # the configuration is cached now
    own = modules_loaded_by(agent, "echo", '{"message": "hi"}')
    asked = {"SSH_ORIGINAL_COMMAND": """echo '{"message": "hi"}'""", "SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 2"}
    loaded = modules_loaded_by(agent, "gate", "--config", str(agent.config_file), env=asked)
    assert loaded - own == {"letsbe.agent.gate", "letsbe.cli.gate", "letsbe.tools.gate_line", "shlex"}


def test_idle_poll_loads_only_what_it_can_not_avoid(enrolled: Agent, orchestrator: Orchestrator) -> None:
    enrolled.cli("poll")  # the configuration is cached now: there was no state directory to keep it in before
    loaded = modules_loaded_by(enrolled, "poll")
    assert {"requests", "sqlite3"} <= loaded
    avoidable = {
        "docker", "cryptography", "rich", "yaml", "structlog", "playwright", "filelock", "asyncio", "subprocess",
        "letsbe.orchestrator",
    }  # fmt: skip
    assert sorted(loaded & avoidable) == []
