"""Once a day: drop what is past its bounds. What a killed run left in the temporary directory: at every chance."""

from __future__ import annotations

import os
import time

from letsbe import frozen
from letsbe.agent import undo
from letsbe.agent.config import Config
from letsbe.agent.journal import Journal
from letsbe.agent.locks import Locks

EVERY_S = 86_400
_FACT = "tidied_at"


def tidy(config: Config, journal: Journal) -> None:
    """Sweep unpack directories, and daily the journal, snapshots, lock files and temporary files of the state."""
    frozen.sweep_orphans()
    last = float(journal.fact(_FACT) or 0)
    if 0 <= time.time() - last < EVERY_S:
        return
    journal.remember(_FACT, str(time.time()))
    journal.prune()
    undo.prune(config.state_dir)
    Locks(config.state_dir).sweep()
    _remove_stale_temporaries(config.state_dir)


def _remove_stale_temporaries(state_dir: str) -> None:
    """What a crash left of the agent's own small files."""
    for directory in (state_dir, os.path.join(state_dir, "inbox")):
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".tmp")]
        except FileNotFoundError:
            continue
        for name in names:
            path = os.path.join(directory, name)
            if time.time() - os.stat(path).st_mtime > EVERY_S:
                os.unlink(path)
