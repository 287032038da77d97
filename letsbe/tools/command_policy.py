"""Which commands SHELL may run: rules of an absolute program and argument patterns, closed by construction.

A pattern is a literal argument or one of the placeholders below; an argument that begins with ``-`` never matches a
placeholder, so no rule lets an option through that it does not spell out. A pattern that ends in ``...`` may match any
number of arguments, none included, and stands last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from letsbe.errors import LetsbeError

#: Placeholder -> what it matches. ``<path>`` is checked further: below an allowed root, without ``..``.
PLACEHOLDERS: dict[str, re.Pattern[str]] = {
    "<int>": re.compile(r"[0-9]{1,18}"),
    "<name>": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}"),
    "<path>": re.compile(r"/[^\0\n]{0,4094}"),
}

#: Programs that run others, or read and write anything, by some of their options or arguments.
STARTERS = frozenset(
    "ash awk bash busybox chroot cp dash dd docker docker-compose ed env ex expect find flock gawk gdb git install ip"
    " less ln lua make man mawk more mount mv nano nc ncat nice node nohup nsenter openssl parallel perl php podman"
    " python python3 rsync ruby runc runuser rvim scp screen script sed setpriv setsid sftp sh socat ssh strace su sudo"
    " systemd-run tar tclsh tee time timeout tmux unshare vi view vim watch wget curl xargs zip zsh apt apt-get dpkg"
    " crontab at journalctl sort split".split()
)

_VERSIONED = re.compile(r"(?P<name>.*?)[-.]?[0-9.]*")


class CommandRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that SHELL may run."""

    program: Annotated[str, Meta(pattern="^/", max_length=4095, description="Absolute path of the executable.")]
    args: Annotated[
        list[Annotated[str, Meta(max_length=4096)]],
        Meta(description="Argument patterns: literals, <int>, <name>, <path>; the last may end in `...`."),
    ] = []
    name: Annotated[str, Meta(max_length=100, description="What refusals and outcomes call it.")] = ""
    changes: Annotated[bool, Meta(description="False: it only reads, so an outcome says `changed: false`.")] = True
    env: Annotated[list[str], Meta(description="Environment variables that a task may set for it.")] = []
    stdin: Annotated[bool, Meta(description="A task may give it standard input.")] = False

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)

    @property
    def title(self) -> str:
        """The rule's name, or the command that it allows."""
        return self.name or " ".join([self.program, *self.args])


def find_rule(rules: Sequence[CommandRule], program: str, args: Sequence[str], roots: Sequence[str]) -> CommandRule:
    """The first rule that allows a program (its resolved path) with these arguments; ``command_refused`` else."""
    for rule in rules:
        if rule.program == program and _matches(rule, args, roots):
            return rule
    same = [rule.title for rule in rules if rule.program == program]
    near = f"; rules for it: {', '.join(same)}" if same else "; no rule is for it"
    shown = " ".join([program, *args])
    raise LetsbeError(
        "command_refused",
        f"not allowed: {shown[:500]}{near}",
        hint="An administrator of this host can add a rule under shell.allow in the configuration.",
        details={"argv": [program, *args], "rules": same},
    )


def path_arguments(rule: CommandRule, args: Sequence[str]) -> list[str]:
    """The arguments that a matching rule took as ``<path>``: where they lead must be below a root too."""
    patterns = [pattern.removesuffix("...") for pattern in rule.args]
    patterns += patterns[-1:] * (len(args) - len(patterns))
    return [arg for pattern, arg in zip(patterns, args, strict=False) if pattern == "<path>"]


def _matches(rule: CommandRule, args: Sequence[str], roots: Sequence[str]) -> bool:
    patterns = list(rule.args)
    repeated = patterns.pop().removesuffix("...") if patterns and patterns[-1].endswith("...") else None
    if len(args) < len(patterns) or (len(args) > len(patterns) and repeated is None):
        return False
    pairs = [*zip(patterns, args, strict=False), *((repeated or "", arg) for arg in args[len(patterns) :])]
    return all(_matches_one(pattern, arg, roots) for pattern, arg in pairs)


def _matches_one(pattern: str, arg: str, roots: Sequence[str]) -> bool:
    placeholder = PLACEHOLDERS.get(pattern)
    if placeholder is None:
        return arg == pattern
    if arg.startswith("-") or not placeholder.fullmatch(arg):
        return False
    return pattern != "<path>" or _is_below(arg, roots)


def _is_below(path: str, roots: Sequence[str]) -> bool:
    parts = path.split("/")
    return ".." not in parts and any(path == root or path.startswith(f"{root}/") for root in roots)


def _problem(rule: CommandRule) -> str | None:
    """Why a rule can't stand, for the configuration's errors."""
    for number, pattern in enumerate(rule.args):
        bare = pattern.removesuffix("...")
        if pattern.endswith("...") and number != len(rule.args) - 1:
            return f"{pattern!r} may only stand last"
        if bare.startswith("<") and bare.endswith(">") and bare not in PLACEHOLDERS:
            return f"unknown placeholder {bare}; there are {', '.join(PLACEHOLDERS)}"
        if bare in PLACEHOLDERS and _starts_others(rule.program):
            return f"{rule.program} can start other programs: spell out every argument instead of {bare}"
    dangerous = [name for name in rule.env if injects_code(name)]
    return f"env: {dangerous[0]} can inject code" if dangerous else None


def injects_code(name: str) -> bool:
    """Whether an environment variable of this name can make programs run something else."""
    prefixes = ("LD_", "GIT_", "PYTHON", "PERL", "RUBY", "NODE_", "BASH_", "DOCKER_", "LETSBE_")
    return name.startswith(prefixes) or name in {
        "PATH", "ENV", "IFS", "SHELL", "PAGER", "EDITOR", "VISUAL", "LESSOPEN", "MANPAGER", "HOME", "CDPATH", "PS4",
    }  # fmt: skip


def _starts_others(program: str) -> bool:
    name = program.rpartition("/")[2]
    versioned = _VERSIONED.fullmatch(name)
    return name in STARTERS or (versioned is not None and versioned["name"] in STARTERS)


def _read(program: str, *args: str) -> CommandRule:
    return CommandRule(program=program, args=list(args), changes=False)


#: What may be run unless ``shell.defaults`` is false: programs that only read, every argument spelled out.
DEFAULT_RULES: tuple[CommandRule, ...] = (
    _read("/usr/bin/df"),
    _read("/usr/bin/df", "-h"),
    _read("/usr/bin/df", "-i"),
    _read("/usr/bin/free"),
    _read("/usr/bin/free", "-h"),
    _read("/usr/bin/free", "-m"),
    _read("/usr/bin/uptime"),
    _read("/usr/bin/uname", "-a"),
    _read("/usr/bin/uname", "-r"),
    _read("/usr/bin/hostname"),
    _read("/usr/bin/date"),
    _read("/usr/bin/date", "-u"),
    _read("/usr/bin/id"),
    _read("/usr/bin/whoami"),
    _read("/usr/bin/nproc"),
    _read("/usr/bin/lsblk"),
    _read("/usr/bin/ps", "aux"),
    _read("/usr/bin/ps", "-ef"),
    _read("/usr/bin/true"),
)
