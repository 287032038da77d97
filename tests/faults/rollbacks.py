"""Runs that are ended by SIGKILL while they are rolled back: at a moment of the record that is kept of that."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from letsbe.agent.recovery import recover
from letsbe.protocol import Outcome
from tests.agents import Agent

#: ``letsbe`` that is killed before (b) or after (a) the n-th call of a method of an open :class:`RollbackRecord`, or of
#: the one of :class:`Undo` that puts a file back.
_KILLED = """
import os, signal, sys
from letsbe.agent.rollback_record import RollbackRecord
from letsbe.agent.undo import Undo
name, number, when = sys.argv.pop(1).split()
kind = Undo if name == "_restore" else RollbackRecord
kept = getattr(kind, name)
left = int(number)
def call(self, *given):
    global left
    left -= name in ("open", "_restore") or self.is_open
    if left == 0 and when == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    result = kept(self, *given)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(kind, name, call)
from letsbe.cli.main import main
main()
"""


def killed(agent: Agent, moment: str, *words: str, payload: Any = None) -> None:
    """Run ``letsbe`` until ``moment``: ``note_undone 2 b`` is when a second step is back, and that is not kept yet."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, moment, *words],
        input=json.dumps(payload).encode(),
        env=agent.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    assert not done.stdout


def resumed(agent: Agent) -> list[Outcome]:
    """Settle what crashed, as the next poll or run does."""
    journal = agent.journal()
    try:
        return recover(agent.config, journal)
    finally:
        journal.close()
