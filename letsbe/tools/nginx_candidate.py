"""Having nginx test a configuration file before it takes the place of the old one."""

from __future__ import annotations

import re

#: Comments and quoted strings, in which braces and directives mean nothing.
_OPAQUE = re.compile(rb"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|#[^\n]*", re.S)
_MAIN = re.compile(rb"(?:^|[;{}\s])(?:events|http|stream|mail)\s*\{")
_EMERGENCY = re.compile(r"\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.*)")


def test_document(content: bytes) -> bytes:
    """A main configuration to test the content with: itself, or one that has it in its ``http`` block.

    What is added stands on the first line, so that the lines nginx names are those of the content.
    """
    if _MAIN.search(_OPAQUE.sub(b"", content)):
        return content
    return b"error_log stderr; events {} http { access_log off; " + content + b"\n}\n"


def test_argv(nginx: str, file: str) -> list[str]:
    """``nginx -t`` of a file."""
    return [nginx, "-t", "-q", "-c", file]


def first_error(said: str, candidate: str, path: str) -> str:
    """What nginx complains of, with the path that the content is for."""
    found = _EMERGENCY.search(said)
    return (found[1] if found else said).replace(candidate, path)
