"""Whether a log line tells of something that went wrong."""

from __future__ import annotations

import re

from letsbe.tools.linear_regex import LinearRegex
from letsbe.tools.log_level import level_of

#: A line without any of these, in lower case, neither says that it is severe nor has one of :data:`_WORDS`.
_HINTS = tuple(
    b"err fatal crit panic exception traceback emerg alert sever seg core oom out uncaught unhandled space many ftl"
    b' level"'.split()
)
_WORDS = re.compile(
    r"(?:error|exception)s?\b|\b(?:fatal|panic|panicked|traceback|critical|emerg|emergency|segfault|uncaught|unhandled"
    r"|segmentation fault|core dumped|out of memory|oom-?kill(?:er|ed)?|no space left on device|too many open files)\b",
    re.I,
)
_THING = r"(?:errors?|exceptions?|failures?|panics?|fatals?)"
#: What has such a word in it and is no problem: a count of zero, a name of a file, an option, a page, a URL.
_BENIGN = re.compile(
    rf"\b(?:0|no|zero|without|without any|any)[ ](?:\w{{1,20}} )?{_THING}\b"
    rf"|\b{_THING}[\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?(?:0|none|null|nil|false|no|off|\"\"|'')(?![\w.])"
    r"|\berrors?[_.-](?:log|logs|page|pages|handler|handling|reporting|document|file|level|format|rate|budget)\b"
    r"|\berrors? (?:log|logs|logging|page|pages|handler|handlers|handling|reporting|tracking|rate|budget|messages?)\b"
    r"|\b(?:log|display|ignore|max|skip|show|on|stop-on|exit-on)[_-]errors?\b"
    r"|--[\w-]{0,40}errors?[\w-]{0,40}"
    r"|\b[\w-]{0,60}errors?\.(?:log|html?|php|js|css|ts|py|go|rb|txt|conf)\b"
    r"|/[\w./%-]{0,200}(?:error|exception)s?[\w./%-]{0,200}",
    re.I,
)


class LogProblems:
    """What counts: the level that a line names, else words in it; with patterns of the caller's own.

    ``patterns`` make a line count whatever its level, ``ignore`` leaves it out whatever else; both are searched in
    linear time. Raises ``invalid_pattern`` and ``pattern_too_complex``.
    """

    def __init__(self, patterns: list[str], ignore: list[str]) -> None:
        self._patterns = [LinearRegex(one) for one in patterns]
        self._ignore = [LinearRegex(one) for one in ignore]

    @property
    def has_patterns(self) -> bool:
        """Whether lines must be shown to it that :func:`is_suspicious` passes over."""
        return bool(self._patterns)

    def counts(self, line: str) -> bool:
        """Whether a line, with its secrets covered, is a problem."""
        if any(one.search(line) for one in self._patterns):
            wrong = True
        else:
            level = level_of(line)
            wrong = level == "error" if level is not None else _sounds_wrong(line)
        return wrong and not any(one.search(line) for one in self._ignore)


def is_suspicious(line: bytes) -> bool:
    """Whether a line may be a problem at all: a quick look that spares most lines a careful one."""
    lower = line.lower()
    return any(hint in lower for hint in _HINTS)


def _sounds_wrong(line: str) -> bool:
    return _WORDS.search(line) is not None and _WORDS.search(_BENIGN.sub(" ", line)) is not None
