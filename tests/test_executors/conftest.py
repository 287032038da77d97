"""What executors are tested against."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_ENGINE = str(Path(__file__).resolve().parents[2] / "build" / "engine")


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """A Docker engine that answers, and the name of an image with busybox; stopped again if it was started here."""
    answered = subprocess.run([_ENGINE, "status"], capture_output=True, check=False).returncode == 0
    subprocess.run([_ENGINE, "start"], check=True)
    yield "letsbe-test/busybox:1"
    if not answered:
        subprocess.run([_ENGINE, "stop"], check=True)
