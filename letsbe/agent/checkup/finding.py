"""What one check of ``letsbe doctor`` found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.agent.config import Config


class Finding(Struct, frozen=True, kw_only=True):
    """One line of the doctor's report. Never holds a secret."""

    check: str
    status: Literal["ok", "warn", "fail"]
    observed: str
    hint: Annotated[str, Meta(description="What a person does next; empty when all is well.")] = ""


#: A check looks at one thing and may find several.
Check = Callable[[Config], list[Finding]]


def ok(check: str, observed: str) -> Finding:
    """All is well."""
    return Finding(check=check, status="ok", observed=observed)


def warn(check: str, observed: str, hint: str) -> Finding:
    """The agent works, but not as well as it could, or not for long."""
    return Finding(check=check, status="warn", observed=observed, hint=hint)


def fail(check: str, observed: str, hint: str) -> Finding:
    """The agent can't do what it is configured to do."""
    return Finding(check=check, status="fail", observed=observed, hint=hint)
