"""Any payload, through the runner: never ``internal``, no hang, nothing outside the root, no secret, honest checks."""

from __future__ import annotations

import faulthandler
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from letsbe.executors import EXECUTOR_REGISTRY
from letsbe.protocol import Outcome
from tests.agents import Agent, tree
from tests.fuzz.conftest import DEFAULT_EXAMPLES
from tests.fuzz.payloads import placed, tasks

SECRET = "fuzz-S3cret-value"

#: Each run's deadline, in seconds; and when one is taken to hang, all its children's grace included.
DEADLINE_S = 3.0
HANGS_S = 120.0

#: What SHELL may do here: read and print.
COMMANDS = [
    {"program": "/bin/true", "args": []},
    {"program": "/bin/echo", "args": ["<name>..."]},
    {"program": "/bin/cat", "args": ["<path>..."], "changes": False},
    {"program": "/bin/cat", "args": [], "stdin": True, "env": ["A", "NAME"]},
]


class Sandbox:
    """A root that is made anew for each payload, and what lies beside it, which no payload may touch."""

    def __init__(self, base: Path) -> None:
        self.agent = Agent(base, shell={"allow": COMMANDS})
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "canary").write_text("DB_PASSWORD=untouched\n")
        (self.outside / "directory").mkdir()
        self.untouched = tree(self.outside)

    def clear(self) -> None:
        """Remove the root; shutil's rmtree calls itself at each of its 2,000 levels."""
        subprocess.run(["rm", "-rf", "--", self.agent.root], check=True)

    def reset(self) -> None:
        """The root as it was in the beginning."""
        root = self.agent.root
        self.clear()
        (root / "directory").mkdir(parents=True)
        (root / "app.env").write_text(f"NAME=demo\nDB_PASSWORD={SECRET}\n")
        (root / ".env").write_text(f"API_KEY='{SECRET}'\n")
        (root / "notes.txt").write_text("one\ntwo\nthree\n")
        (root / "directory" / "inner.txt").write_text("inner\n")
        (root / "binary").write_bytes(bytes(range(256)))
        (root / "compose.yaml").write_text("services: {web: {image: none, env_file: app.env}}\n")
        os.mkfifo(root / "fifo")
        links = {"link_out": self.outside, "link_to_canary": self.outside / "canary", "link_in": root / "notes.txt"}
        for name, target in {**links, "loop": "loop", "dangling": "nowhere"}.items():
            (root / name).symlink_to(target)

    def try_one(self, task_type: str, payload: Any, *, check: bool, diff: bool) -> Outcome:
        """Run a payload, and assert what must hold of any."""
        self.reset()
        before = tree(self.agent.root) if check else {}
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        try:
            outcome = self.agent.run(task_type, payload, check=check, diff=diff, timeout_s=DEADLINE_S)
        finally:
            faulthandler.cancel_dump_traceback_later()
        encoded = msgspec.json.encode(outcome)
        again = msgspec.json.decode(encoded, type=Outcome)
        assert msgspec.json.encode(again) == encoded
        assert SECRET.encode() not in encoded
        assert outcome.success == (outcome.error is None) == (outcome.status == "succeeded")
        assert "internal" not in _codes(again), encoded
        assert tree(self.outside) == self.untouched
        if check:
            assert tree(self.agent.root) == before
            assert outcome.check
        return outcome


def _codes(outcome: Outcome) -> set[str]:
    """The error's code, and those of the steps inside."""
    own = {outcome.error.code} if outcome.error else set()
    steps = [*outcome.data.get("steps", []), *outcome.data.get("rollback", [])] if outcome.type == "COMPOSITE" else []
    inner = [msgspec.convert(step["outcome"], Outcome) for step in steps if step["outcome"]]
    return own.union(*map(_codes, inner))


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path)
    yield made
    made.clear()  # what pytest tidies up with can't remove it
    leaked = [path for path in made.agent.state_dir.glob("state.db*") if SECRET.encode() in path.read_bytes()]
    assert leaked == []
    assert not made.agent.log_file.exists() or SECRET not in made.agent.log_file.read_text(errors="replace")


@pytest.mark.parametrize("task_type", EXECUTOR_REGISTRY)
def test_no_payload_breaks_the_runner(task_type: str, sandbox: Sandbox, examples: int) -> None:
    seen: Counter[str] = Counter()

    @given(tasks(task_type), st.booleans(), st.booleans())
    @settings(
        max_examples=max(120, examples // len(EXECUTOR_REGISTRY)),
        deadline=None,
        database=None,
        derandomize=examples == DEFAULT_EXAMPLES,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def run(payload: Any, check: bool, diff: bool) -> None:
        real = placed(payload, str(sandbox.agent.root), str(sandbox.outside))
        outcome = sandbox.try_one(task_type, real, check=check, diff=diff)
        seen[outcome.error.code if outcome.error else outcome.status] += 1

    run()
    print(f"{task_type}: {seen.total()} payloads: {dict(seen.most_common())}")
    assert set(seen) - {"invalid_payload"}, "no payload came past the decoder"
