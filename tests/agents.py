"""A throw-away agent for tests: in process through the runner, or as its user would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import yaml

from letsbe.agent.caller import this_caller
from letsbe.agent.config import Config, Origin, load
from letsbe.agent.journal import Journal
from letsbe.agent.outcomes import Request
from letsbe.agent.runner import Runner
from letsbe.protocol import Outcome
from tests import forked

#: What a run of the program may take.
TIMEOUT_S = 120


class Agent:
    """A root and a state directory below ``base``; ``settings`` go into its configuration file."""

    def __init__(self, base: Path, **settings: Any) -> None:
        self.base = base
        self.root = base / "root"
        self.state_dir = base / "state"
        self.config_file = base / "letsbe.yml"
        self.log_file = base / "letsbe.log"
        self.root.mkdir(exist_ok=True)
        self.configure(**settings)

    def configure(self, **settings: Any) -> None:
        """Write the configuration anew."""
        document = {
            "roots": [str(self.root)],
            "state_dir": str(self.state_dir),
            "log": {"file": str(self.log_file)},
            **settings,
        }
        self.config_file.write_text(yaml.safe_dump(document, sort_keys=False))
        self.config_file.chmod(0o600)

    @property
    def config(self) -> Config:
        """The configuration, read as the agent reads it."""
        return load(str(self.config_file))

    def run(self, task_type: str, payload: Any, *, origin: Origin = "local", **request: Any) -> Outcome:
        """Run a task in this process."""
        runner = Runner(self.config, origin=origin, caller=this_caller())
        return runner.run(Request(type=task_type, payload=payload, **request))

    def cli(
        self, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``letsbe`` as a program; the built file when ``LETSBE_BINARY`` names one."""
        environment = self.environment(env)
        if "LETSBE_BINARY" not in os.environ:
            return forked.run("letsbe", words, stdin=stdin, env=environment, cwd=os.getcwd(), timeout_s=TIMEOUT_S)
        command = [*program(), *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, env=environment, timeout=TIMEOUT_S, check=False
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``letsbe`` as a program, and leave it running."""
        return subprocess.Popen(
            [*program(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment()
        )

    def start_stopped(self, *words: str, streams: tuple[IO[bytes], ...]) -> forked.Process:
        """Start ``letsbe`` from source; it goes on when it gets SIGCONT, with everything imported."""
        env = self.environment()
        return forked.start("letsbe", words, streams=streams, env=env, cwd=os.getcwd(), stopped=True)

    def json(self, *words: str, stdin: bytes = b"") -> Any:
        """Run ``letsbe`` and decode its standard output."""
        done = self.cli(*words, stdin=stdin)
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment of a child that is this agent."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LETSBE_CONFIG", "SSH_"))}
        return {**kept, "LETSBE_CONFIG": str(self.config_file), **(more or {})}

    def journal(self) -> Journal:
        """The agent's journal; close it."""
        return Journal(str(self.state_dir))


def program() -> list[str]:
    """How tests start ``letsbe``."""
    binary = os.environ.get("LETSBE_BINARY")
    return [binary] if binary else [sys.executable, "-m", "letsbe"]


def tree(*directories: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below some directories: type, mode, owner, content. Two equal ones mean that nothing was changed."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory in directories:
        for path in sorted([directory, *directory.rglob("*")]) if directory.exists() else []:
            status = path.lstat()
            content: Any = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, content)
    return found
