"""Edits of an env file that leave every other byte as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.tools.dotenv import BOM, EnvFile, Statement, parse
from letsbe.tools.dotenv_quote import Style, quoted, reads_back_in_bash
from letsbe.tools.dotenv_values import WHITE_SPACE

#: Names that a script can't set in bash, or that bash gives another value as soon as they are read.
_TAKEN_BY_BASH = frozenset(
    [
        *("_", "BASHOPTS", "BASHPID", "BASH_SUBSHELL", "BASH_VERSINFO", "EPOCHREALTIME", "EPOCHSECONDS", "EUID"),
        *("FUNCNAME", "GROUPS", "LINENO", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SRANDOM", "UID"),
    ]
)


class Edited(Struct, frozen=True, kw_only=True):
    """What an edit makes of a file. Key lists are in the order of the request, ``dependents`` in that of the file."""

    content: bytes
    before: EnvFile
    after: EnvFile
    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    #: Keys that nobody asked to change whose value changes, because it names one that does.
    dependents: list[str]
    warnings: list[str]


def edit(content: bytes, assign: Mapping[str, str], unset: Sequence[str], style: Style = "auto") -> Edited:
    """Set and unset keys.

    Raises ``env_syntax`` when compose can't read the file as it is, ``value_not_representable``, and
    ``env_edit_failed`` when what would be written does not read back as asked.
    """
    before = parse(content)
    if before.problems:
        problem = before.problems[0]
        raise LetsbeError(
            "env_syntax",
            f"line {problem.line}: {problem.message}",
            hint="ENV_INSPECT lists every such line; mend them first.",
            details={"line": problem.line},
        )
    draft = _Draft(before, style)
    for key, value in assign.items():
        draft.set(key, value)
    for key in dict.fromkeys(unset):
        draft.unset(key)
    text = draft.text()
    edited = (BOM if before.bom else b"") + text.encode("utf-8", "surrogateescape")
    after = parse(edited)
    _verify(before, after, assign, unset)
    old = before.values
    return Edited(
        content=edited,
        before=before,
        after=after,
        added=draft.added,
        changed=draft.changed,
        removed=draft.removed,
        unchanged=draft.unchanged,
        dependents=[
            key for key, value in after.values.items() if key not in assign and key in old and old[key] != value
        ],
        warnings=draft.warnings,
    )


class _Draft:
    """Collects replacements of stretches of the old text."""

    def __init__(self, before: EnvFile, style: Style) -> None:
        self._before = before
        self._style = style
        self._statements = before.by_key()
        first_line = before.text.partition("\n")[0]
        self._line_end = "\r\n" if first_line.endswith("\r") and "\n" in before.text else "\n"
        self._replacements: list[tuple[int, int, str]] = []
        self._appended: list[str] = []
        self.added: list[str] = []
        self.changed: list[str] = []
        self.removed: list[str] = []
        self.unchanged: list[str] = []
        self.warnings: list[str] = []

    def set(self, key: str, value: str) -> None:
        """Have the key's last statement, or a new one at the end, give the value literally."""
        found = self._statements.get(key, [])
        last = found[-1] if found else None
        if len(found) > 1:
            lines = ", ".join(str(statement.line) for statement in found)
            self.warnings.append(f"{key} is set more than once (lines {lines}): the last one counts")
        if last is not None and last.value == value and not last.inherited and not last.refers:
            self.unchanged.append(key)
            return
        if last is None:
            written = quoted(key, value, self._style)
            self._appended.append(f"{key}={written}")
            self.added.append(key)
        else:
            written = self._rewrite(last, value)
            self.changed.append(key)
        self._warn_of_bash(key, written)

    def unset(self, key: str) -> None:
        """Remove every statement for the key."""
        found = self._statements.get(key, [])
        (self.removed if found else self.unchanged).append(key)
        for statement in found:
            self._replacements.append(self._removal(statement))

    def text(self) -> str:
        """The new text."""
        pieces: list[str] = []
        position = 0
        for start, end, new in sorted(self._replacements):
            pieces += (self._before.text[position:start], new)
            position = end
        text = "".join(pieces) + self._before.text[position:]
        if self._appended:
            if text and not text.endswith("\n"):
                text += self._line_end
            text += "".join(line + self._line_end for line in self._appended)
        return text

    def _rewrite(self, last: Statement, value: str) -> str:
        rest = self._rest_of_line(last)
        follows = rest.strip(WHITE_SPACE)
        written = quoted(last.key, value, self._style, never_bare=bool(follows) and not follows.startswith("#"))
        if follows and not written:
            written = "''"  # compose reads `KEY= # comment` as a value
        gap = " " if follows and rest[0] not in WHITE_SPACE else ""
        key_end = last.key_start + len(last.key)
        self._replacements.append((key_end, last.end, f"={written}{gap}"))
        return written

    def _removal(self, statement: Statement) -> tuple[int, int, str]:
        text = self._before.text
        line_start = text.rfind("\n", 0, statement.start) + 1
        alone = not text[line_start : statement.start].strip(WHITE_SPACE)
        rest = self._rest_of_line(statement)
        follows = rest.strip(WHITE_SPACE)
        if alone and (not follows or follows.startswith("#")):
            return line_start, statement.end + len(rest) + 1, ""
        return statement.start, statement.end + len(rest) - len(rest.lstrip(WHITE_SPACE)), ""

    def _rest_of_line(self, statement: Statement) -> str:
        text = self._before.text
        end = text.find("\n", statement.end)
        return text[statement.end : len(text) if end < 0 else end]

    def _warn_of_bash(self, key: str, written: str) -> None:
        if not reads_back_in_bash(written):
            self.warnings.append(f"{key}: written for compose; bash would run the backticks in it")
        elif self._line_end == "\r\n":
            self.warnings.append(f"{key}: the file has CRLF line ends, which bash takes for part of the value")
        if key in _TAKEN_BY_BASH:
            self.warnings.append(f"{key}: bash keeps this name for itself; `. FILE` won't set it there")


def _verify(before: EnvFile, after: EnvFile, assign: Mapping[str, str], unset: Sequence[str]) -> None:
    """The last look before anything is written: with compose's grammar, on the very bytes."""
    touched = {*assign, *unset}
    values = after.values
    wrong = [key for key, value in assign.items() if values.get(key) != value]
    wrong += sorted(after.by_key().keys() & set(unset))
    if after.problems or wrong or _raw(before, touched) != _raw(after, touched):
        where = f"line {after.problems[0].line}: {after.problems[0].message}" if after.problems else ", ".join(wrong)
        raise LetsbeError(
            "env_edit_failed",
            f"the edited file would not read back as asked ({where or 'other keys would change'})",
            hint="Nothing was written. Rewrite the lines of these keys by hand, each on a line of its own.",
        )


def _raw(env: EnvFile, touched: set[str]) -> list[tuple[str, str]]:
    return [
        (found.key, env.text[found.value_start : found.end]) for found in env.statements if found.key not in touched
    ]
