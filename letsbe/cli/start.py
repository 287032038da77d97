"""What every command does first: configuration and logging."""

from __future__ import annotations

from letsbe.agent import log
from letsbe.agent.config import Config, load


def start(config_file: str | None, verbose: int) -> Config:
    """Load the configuration and point the log where it says."""
    config = load(config_file)
    log.configure(file=config.log.file, level=config.log.level, verbose=verbose)
    return config
