"""Secrets in an argument list, known by the option or variable that they are the value of."""

from __future__ import annotations

from collections.abc import Sequence

from letsbe.tools.redaction import is_secret_name

#: ``--password-file`` names a place, not a secret.
_PLACES = ("file", "path", "dir", "command", "cmd")


def secret_arguments(argv: Sequence[str]) -> list[str]:
    """The values in ``--password=VALUE``, ``--password VALUE``, ``PASSWORD=VALUE``."""
    found: list[str] = []
    option = ""
    for word in argv:
        name, sign, value = word.partition("=")
        if sign and _is_secret(name):
            found.append(value)
        elif option and not word.startswith("-"):
            found.append(word)
        option = word if word.startswith("-") and not sign and _is_secret(word) else ""
    return [value for value in found if value]


def _is_secret(name: str) -> bool:
    return is_secret_name(name.lstrip("-")) and not name.lower().endswith(_PLACES)
