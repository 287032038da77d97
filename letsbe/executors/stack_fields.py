"""Fields of payloads that name a stack, and a part of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=255)]
StackName = Annotated[
    Annotated[str, Meta(min_length=1, max_length=4095)] | None,
    Meta(description="A project name, or the directory of a stack."),
]
ServiceNames = Annotated[list[Name], Meta(description="Of the stack, only these; empty: all.", max_length=100)]
