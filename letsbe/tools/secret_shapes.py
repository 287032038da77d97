"""Secrets that show by their own shape or by the words around them, whatever name they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: What services issue, by how it begins, and JSON Web Tokens.
ISSUED = re.compile(
    r"(?<![A-Za-z0-9_.\-])(?:"
    r"(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk_live_|sk_test_|sk-|rk_live_|AKIA|ASIA|AIza|SG\.|dckr_pat_|npm_)"
    r"[A-Za-z0-9_.\-]{12,}|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*)"
)
#: Each with the secret as its last group, or as a whole when it has none.
_SHAPES = (
    ISSUED,
    # crypt(3) and its kin, as in shadow and htpasswd; in compose files with their dollars doubled.
    re.compile(
        r"\${1,2}(?:[1567]|2[abxy]?|g?y|apr1|argon2(?:id|i|d)|pbkdf2[-a-z0-9]{0,16}|scrypt)\${1,2}"
        r"(?:[A-Za-z0-9./=,+-]{1,64}\${1,2}){0,4}[A-Za-z0-9./+=]{20,}"
    ),
    re.compile(r"\{S?SHA(?:256|512)?\}[A-Za-z0-9+/=]{20,}"),
    # What `docker login` and npm keep: user and password in base64.
    re.compile(
        r"""(?:"auth"[ \t]*+:[ \t]*+"|(?<![A-Za-z0-9])_auth[ \t]*+=[ \t]*+"?)"""
        r"""((?=[a-z]*[A-Z0-9+/])[A-Za-z0-9+/]{8,}={0,2})(?![A-Za-z0-9+/=_.-])"""
    ),
    # .netrc
    re.compile(r"(?<![^\s])(?:machine|login|account)\s++\S++\s++password\s++(\S+)"),
    # MySQL's -pSECRET has no name at all, nor have those of some others.
    re.compile(
        r"""(?<![A-Za-z0-9-])(?:(?:mysql|mariadb)(?:-?(?:dump|admin|check|import|show))?(?=["'\s])[^\n]{0,500}?["'\s]-p"""
        r"""|(?:redis|valkey)-cli(?=["'\s])[^\n]{0,500}?["'\s]-a["']?[ \t]*+,?[ \t]*+["']?"""
        r"""|sshpass(?=["'\s])[^\n]{0,9}["'\s]-p["']?[ \t]*+,?[ \t]*+["']?)"""
        r"""(?!\$)((?<=["'])[^"'\n]+|"[^"\n]+"|'[^'\n]+'|[^\s"',\]]+)"""
    ),
)


def shaped_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each; in order, none within another."""
    done = 0
    for start, end in sorted(found.span(shape.groups) for shape in _SHAPES for found in shape.finditer(text)):
        if start >= done:
            yield start, end
            done = end
