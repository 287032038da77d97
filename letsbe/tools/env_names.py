"""Which files are env files, by their names."""

from __future__ import annotations


def is_env_name(name: str) -> bool:
    """Whether a file of this name holds assignments: ``.env``, ``.env.local``, ``app.env``, ``env``."""
    return name in (".env", "env") or name.startswith(".env.") or name.endswith(".env")
