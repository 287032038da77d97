"""Which commands SHELL may run: rules of an absolute program and a pattern for every argument, closed by construction.

A pattern is a literal argument, or ends in a placeholder: ``<int>``, ``<name>``, ``<path>`` or a choice of words
(``<start|stop>``), with an option's text before it where that is spelled out up to its ``=`` (``--lines=<int>``). No
value of a placeholder begins with ``-``, so no rule lets an option through that it does not name. ``...`` after the
last pattern's placeholder lets it match any number of arguments, none included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from letsbe.errors import LetsbeError

#: Placeholder -> what it matches. ``<path>`` must be below an allowed root, which its text can't show alone.
PLACEHOLDERS: dict[str, re.Pattern[str]] = {
    "int": re.compile(r"[0-9]{1,18}"),
    "name": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}"),
    "path": re.compile(r"/[^\0-\x1f\x7f]{0,4094}"),
}

#: Whether an absolute path, by its text, is below an allowed root.
BelowRoot = Callable[[str], bool]

_PATTERN = re.compile(r"(?P<prefix>[^<>\s]*)<(?P<kind>[^<>\s]+)>(?P<repeated>(?:\.\.\.)?)")
_CHOICE = r"[A-Za-z0-9_./:@+-]+(?:\|[A-Za-z0-9_./:@+-]+)+"


class CommandRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that SHELL may run."""

    program: Annotated[str, Meta(pattern="^/", max_length=4095, description="Absolute path of the executable.")]
    args: Annotated[
        list[Annotated[str, Meta(max_length=4096)]],
        Meta(
            description="Argument patterns: literals, <int>, <name>, <path>, <this|that>, --option=<int>; the last may"
            " end in `...`.",
            max_length=256,
        ),
    ] = []
    name: Annotated[str, Meta(max_length=100, description="What refusals and outcomes call it.")] = ""
    changes: Annotated[bool, Meta(description="False: it only reads, so an outcome says `changed: false`.")] = True
    env: Annotated[
        list[Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=255)]],
        Meta(description="Environment variables that a task may set for it."),
    ] = []
    stdin: Annotated[bool, Meta(description="A task may give it standard input.")] = False

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)

    @property
    def title(self) -> str:
        """The rule's name, or the command that it allows."""
        return self.name or " ".join([self.program, *self.args])


class _Placeholder(Struct, frozen=True):
    prefix: str
    kind: str
    repeated: bool

    def matches(self, arg: str, below_root: BelowRoot) -> bool:
        """Whether an argument begins with the prefix, and what follows may stand for the placeholder."""
        value = arg.removeprefix(self.prefix)
        if not arg.startswith(self.prefix) or value.startswith("-"):
            return False
        if "|" in self.kind:
            return value in self.kind.split("|")
        if PLACEHOLDERS[self.kind].fullmatch(value) is None:
            return False
        return self.kind != "path" or (".." not in value.split("/") and below_root(value))


def find_rule(rules: Sequence[CommandRule], argv: Sequence[str], below_root: BelowRoot) -> CommandRule:
    """The first of a program's rules that allows its arguments; ``command_refused`` when there is none.

    ``argv[0]`` is for messages: the caller has chosen the rules that are for this program. ``below_root`` tells by a
    path's text alone whether it is below an allowed root.
    """
    for rule in rules:
        if _matched(rule, argv[1:], below_root) == len(argv) - 1:
            return rule
    raise refused(rules, argv, _why_not(rules, argv, below_root))


def refused(rules: Sequence[CommandRule], argv: Sequence[str], why: str) -> LetsbeError:
    """``command_refused``, with what an administrator would have to allow."""
    import json

    shown = json.dumps({"program": argv[0], "args": list(argv[1:])}, ensure_ascii=False)
    return LetsbeError(
        "command_refused",
        f"not allowed: {' '.join(argv)[:500]}: {why}",
        hint="An administrator of this host can allow exactly this in the configuration, under shell.allow: "
        + (shown if len(shown) <= 500 else "a rule with this program and its arguments"),
        details={"argv": list(argv), "rules": [rule.title for rule in rules]},
    )


def path_arguments(rule: CommandRule, args: Sequence[str]) -> dict[int, str]:
    """The paths among arguments that a rule matches: number of the argument -> path, which is its end."""
    found: dict[int, str] = {}
    for number, arg in enumerate(args):
        placeholder = _placeholder(_pattern(rule, number) or "")
        if placeholder is not None and placeholder.kind == "path":
            found[number] = arg.removeprefix(placeholder.prefix)
    return found


def _matched(rule: CommandRule, args: Sequence[str], below_root: BelowRoot) -> int:
    """How many arguments match before the first that doesn't; -1 when all do, but some are missing."""
    for number, arg in enumerate(args):
        pattern = _pattern(rule, number)
        placeholder = _placeholder(pattern or "")
        if pattern is None or not (arg == pattern if placeholder is None else placeholder.matches(arg, below_root)):
            return number
    needed = len(rule.args) - (1 if rule.args and _repeats(rule.args[-1]) else 0)
    return len(args) if len(args) >= needed else -1


def _pattern(rule: CommandRule, number: int) -> str | None:
    if number < len(rule.args):
        return rule.args[number]
    return rule.args[-1] if rule.args and _repeats(rule.args[-1]) else None


def _repeats(pattern: str) -> bool:
    placeholder = _placeholder(pattern)
    return placeholder is not None and placeholder.repeated


def _placeholder(pattern: str) -> _Placeholder | None:
    """The placeholder that a pattern ends in; None for a literal."""
    found = _PATTERN.fullmatch(pattern)
    return _Placeholder(found["prefix"], found["kind"], bool(found["repeated"])) if found else None


def _why_not(rules: Sequence[CommandRule], argv: Sequence[str], below_root: BelowRoot) -> str:
    if not rules:
        return "no rule is for this program"
    rule = max(rules, key=lambda rule: _matched(rule, argv[1:], below_root))
    number = _matched(rule, argv[1:], below_root)
    if number == -1:
        return f"the rule {rule.title!r} wants more arguments"
    pattern = _pattern(rule, number)
    wanted = "no further argument" if pattern is None else repr(pattern)
    return f"argument {number + 1} is {argv[number + 1][:200]!r} where the rule {rule.title!r} wants {wanted}"


def _problem(rule: CommandRule) -> str | None:
    """Why a rule can't stand, for the configuration's errors."""
    for number, pattern in enumerate(rule.args):
        placeholder = _placeholder(pattern)
        if placeholder is not None:
            problem = _placeholder_problem(rule, number, pattern, placeholder)
            if problem:
                return problem
    return _extras_problem(rule) if rule.stdin or rule.env else None


def _extras_problem(rule: CommandRule) -> str | None:
    from letsbe.tools.dangerous_programs import injects_code, starts_others

    if rule.stdin and starts_others(rule.program) and not {"-c", "-e"} & set(rule.args):
        return f"{rule.program} may run what it reads: no standard input, unless a script is spelled out with -c or -e"
    dangerous = [name for name in rule.env if injects_code(name)]
    return f"env: {dangerous[0]} can inject code" if dangerous else None


def _placeholder_problem(rule: CommandRule, number: int, pattern: str, found: _Placeholder) -> str | None:
    from letsbe.tools.dangerous_programs import starts_others, takes_verb  # a long list, and most starts have no rule

    if found.kind not in PLACEHOLDERS and not re.fullmatch(_CHOICE, found.kind):
        known = ", ".join(f"<{name}>" for name in PLACEHOLDERS)
        return f"unknown placeholder <{found.kind}>; there are {known} and choices like <start|stop>"
    if found.repeated and number != len(rule.args) - 1:
        return f"{pattern!r} may only stand last"
    if starts_others(rule.program):
        return f"{rule.program} can start other programs: spell out every argument instead of {pattern}"
    if takes_verb(rule.program) and number == 0 and "|" not in found.kind:
        return f"{rule.program}: spell out its first argument, which says what it does, instead of {pattern}"
    if found.kind in ("name", "path") and found.prefix.startswith("-") and not found.prefix.endswith("="):
        return f"{pattern!r} would match other options too: write {found.prefix}=<{found.kind}> or two arguments"
    return None


def allows_placeholders(rule: CommandRule, executable: str) -> bool:
    """Whether a rule may be used for the executable that its program leads to, symlinks followed."""
    from letsbe.tools.dangerous_programs import starts_others

    return not starts_others(executable) or not any(_placeholder(pattern) for pattern in rule.args)


def _read(program: str, *args: str) -> CommandRule:
    return CommandRule(program=program, args=list(args), changes=False)


#: What may be run unless ``shell.defaults`` is false: programs that only read, every argument spelled out. None shows
#: the arguments or the environment of other processes, where secrets may stand.
DEFAULT_RULES: tuple[CommandRule, ...] = (
    _read("/usr/bin/df"),
    _read("/usr/bin/df", "-h"),
    _read("/usr/bin/df", "-hT"),
    _read("/usr/bin/df", "-i"),
    _read("/usr/bin/free"),
    _read("/usr/bin/free", "-h"),
    _read("/usr/bin/free", "-m"),
    _read("/usr/bin/uptime"),
    _read("/usr/bin/uptime", "-p"),
    _read("/usr/bin/uname", "-a"),
    _read("/usr/bin/uname", "-r"),
    _read("/usr/bin/hostname"),
    _read("/usr/bin/date"),
    _read("/usr/bin/date", "-u"),
    _read("/usr/bin/id"),
    _read("/usr/bin/whoami"),
    _read("/usr/bin/nproc"),
    _read("/usr/bin/lsblk"),
    _read("/usr/bin/lscpu"),
    _read("/usr/bin/ss", "-tln"),
    _read("/usr/bin/ss", "-uln"),
    _read("/usr/bin/ps", "-eo", "pid,ppid,user,stat,etime,rss,comm"),
    _read("/usr/bin/cat", "/etc/os-release"),
    _read("/usr/bin/true"),
)
