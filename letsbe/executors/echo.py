"""ECHO: is the agent there, and what could it do here?"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from letsbe import __version__
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult


class Payload(base.Payload, frozen=True):
    """What ECHO takes."""

    message: Annotated[str, Meta(description="Text to give back, at most 4 KiB.", max_length=4096)] = ""


class Data(base.Data):
    """What ECHO gives."""

    message: Annotated[str, Meta(description="The text that was sent.")]
    version: Annotated[str, Meta(description="The agent's version.")]


class Echo(BaseExecutor[Payload, Data]):
    """Give a message back: connectivity and capability test."""

    type = "ECHO"
    changes = False
    rerun_safe = True
    example = {"message": "hello"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Give the message back."""
        return ExecutionResult(data=Data(message=payload.message, version=__version__))
