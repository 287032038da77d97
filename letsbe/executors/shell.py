"""SHELL: run a command that the host's policy allows, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.host.clock import timed_out
from letsbe.host.processes import Completed
from letsbe.tools.command_policy import CommandRule, allows_placeholders, find_rule, path_arguments, refused

MAX_ARGUMENTS = 256
MAX_TIMEOUT_S = 900

Path = Annotated[str, Meta(max_length=4095)]


class Payload(base.Payload, frozen=True):
    """What SHELL takes."""

    argv: Annotated[
        list[Annotated[str, Meta(max_length=4096)]],
        Meta(
            description="Program and arguments, one each; there is no string form and no shell.",
            min_length=1,
            max_length=MAX_ARGUMENTS,
        ),
    ]
    cwd: Annotated[Path | None, Meta(description="Working directory, below an allowed root; else /.")] = None
    stdin: Annotated[
        str,
        Meta(
            description="Standard input, at most 1 MiB; the rule must allow one.",
            max_length=1024 * 1024,
            extra={"journal": "digest"},
        ),
    ] = ""
    env: Annotated[
        dict[Annotated[str, Meta(max_length=255)], Annotated[str, Meta(max_length=32_768)]],
        Meta(description="Environment variables, at most 32 KiB each; the rule must name them.", max_length=100),
    ] = {}
    creates: Annotated[Path | None, Meta(description="Do nothing when this path, below a root, is there.")] = None
    removes: Annotated[Path | None, Meta(description="Do nothing when this path, below a root, is not there.")] = None
    timeout_s: Annotated[float, Meta(description="Deadline in seconds, at most 900.", gt=0, le=MAX_TIMEOUT_S)] = 60
    max_output: Annotated[
        int,
        Meta(
            description="Bytes kept of each stream, head and tail; never more than limits.output_bytes of the host.",
            ge=1024,
            le=1024 * 1024,
        ),
    ] = 65_536

    def secret_values(self) -> Sequence[str]:
        """The values of options such as --password."""
        from letsbe.tools.argument_secrets import secret_arguments

        return secret_arguments(self.argv)


class Data(base.Data):
    """What SHELL gives."""

    argv: Annotated[list[str], Meta(description="The rule's program and the arguments.")]
    rule: Annotated[str, Meta(description="The rule that allowed it.")]
    ran: Annotated[bool, Meta(description="False: check mode, or creates/removes said that there is nothing to do.")]
    rc: Annotated[int | None, Meta(description="Exit code; null when a signal ended it, or it did not run.")] = None
    signal: Annotated[str | None, Meta(description="The signal that ended it.")] = None
    stdout: Annotated[str, Meta(description="Standard output, UTF-8 with replacements, redacted.")] = ""
    stderr: Annotated[str, Meta(description="Standard error, likewise.")] = ""
    truncated: Annotated[bool, Meta(description="The middle of a stream was cut.")] = False
    stdout_cut: Annotated[int, Meta(description="Bytes cut from standard output.")] = 0
    stderr_cut: Annotated[int, Meta(description="Bytes cut from standard error.")] = 0
    timed_out: Annotated[bool, Meta(description="Its deadline ended it.")] = False
    left_behind: Annotated[int, Meta(description="Processes that it left running, which were ended.")] = 0


class Shell(BaseExecutor[Payload, Data]):
    """Run a command that the host's policy allows.

    Rules stand under shell.allow in the configuration: an absolute program and a pattern for every argument. A small
    list of commands that only read is allowed unless shell.defaults is false. Nothing goes through a shell.
    """

    type = "SHELL"
    changes = True
    not_idempotent = "a command acts each time, unless creates or removes guards it or its rule says that it reads"
    example = {"argv": ["/usr/bin/uptime"]}

    def timeout_s(self, payload: Payload) -> float | None:
        """The payload's own deadline."""
        return payload.timeout_s

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Find the rule, run the command under it."""
        rule = self._rule(payload)
        _require_allowed_extras(rule, payload)
        self.context.redactor.meet_mapping(payload.env)
        data = Data(argv=[rule.program, *payload.argv[1:]], rule=rule.title, ran=False)
        if self._nothing_to_do(payload):
            return ExecutionResult(data=data)
        with ExitStack() as stack:
            handed = self._handed(stack, rule, payload)
            done = self.host.run(
                [rule.program, *(handed.get(number, (arg, -1))[0] for number, arg in enumerate(payload.argv[1:]))],
                changes=rule.changes,
                cwd="/" if payload.cwd is None else stack.enter_context(self.host.files.directory(payload.cwd)),
                stdin=payload.stdin.encode(),
                env=payload.env,
                timeout_s=payload.timeout_s,
                output_bytes=min(payload.max_output, self.context.rights.output_bytes),
                descriptors=[descriptor for _, descriptor in handed.values()],
            )
        self._fill(data, done, rule, handed)
        error = _error(data, done, min(payload.timeout_s, self.host.deadline.seconds))
        return ExecutionResult(data=data, changed=rule.changes, error=error, warnings=_warnings(done))

    def undo(self, payload: Payload, data: Data) -> list[str]:  # noqa: ARG002 - the base's signature
        """A command can't be taken back; one that only read needs not."""
        rule = next((rule for rule in self.context.rights.commands if rule.title == data.rule), None)
        return [f"{' '.join(data.argv)} can't be undone"] if data.ran and (rule is None or rule.changes) else []

    def _rule(self, payload: Payload) -> CommandRule:
        """The rule that allows the command, by the executable that the program's name leads to."""
        asked = payload.argv[0]
        executable = self.host.processes.resolve(asked)
        if executable is None:
            raise LetsbeError("program_missing", f"{asked!r}: no such program", hint="Is its package installed?")
        argv = [executable, *payload.argv[1:]]
        rules = [rule for rule in self.context.rights.commands if self._is_for(rule, asked, executable)]
        rule = find_rule(rules, argv, self.host.files.is_below_root)
        if not allows_placeholders(rule, executable):
            raise refused(rules, argv, f"{executable} can start others, and the rule {rule.title!r} has placeholders")
        if self.host.files.is_below_root(executable):
            raise refused([], argv, "it stands below an allowed root, where tasks can write")
        changeable = self.host.processes.changeable_by_others(executable)
        if changeable is not None:
            raise refused([], argv, f"others than root and the agent's user can change {changeable}")
        return rule

    def _is_for(self, rule: CommandRule, asked: str, executable: str) -> bool:
        """The same executable; for one that acts by its name (busybox), under the rule's name or its own."""
        same_name = asked.rpartition("/")[2] == rule.program.rpartition("/")[2]
        return self.host.processes.resolve(rule.program) == executable and (same_name or rule.program == executable)

    def _nothing_to_do(self, payload: Payload) -> bool:
        if payload.creates is not None and self.host.files.exists(payload.creates):
            return True
        return payload.removes is not None and not self.host.files.exists(payload.removes)

    def _handed(self, stack: ExitStack, rule: CommandRule, payload: Payload) -> dict[int, tuple[str, int]]:
        """What stands for the arguments that are paths: the file itself, opened, so that none can be put in its place.

        Number of the argument -> the argument as the program gets it, and the descriptor that it inherits.
        """
        handed: dict[int, tuple[str, int]] = {}
        for number, path in path_arguments(rule, payload.argv[1:]).items():
            prefix = payload.argv[1:][number].removesuffix(path)
            if self.context.check and rule.changes:
                self.host.files.canonical(path)  # it will not run, and a step before may be to make the file
                continue
            name, descriptor = stack.enter_context(self.host.files.handed(path))
            handed[number] = prefix + name, descriptor
        return handed

    def _fill(self, data: Data, done: Completed, rule: CommandRule, handed: dict[int, tuple[str, int]]) -> None:
        names = {handed[number][1]: path for number, path in path_arguments(rule, data.argv[1:]).items() if handed}
        data.ran = not done.skipped
        data.rc, data.signal = done.rc, done.signal
        data.stdout = self._text(done.stdout, names)
        data.stderr = self._text(done.stderr, names)
        data.stdout_cut, data.stderr_cut = done.stdout_cut, done.stderr_cut
        data.truncated = bool(done.stdout_cut or done.stderr_cut)
        data.timed_out, data.left_behind = done.timed_out, done.left_behind

    def _text(self, output: bytes, names: dict[int, str]) -> str:
        """Output as text, with the paths that were asked for instead of their descriptors, redacted."""
        text = output.decode("utf-8", "replace")
        if names:
            text = _DESCRIPTOR.sub(lambda found: names.get(int(found[1]), found[0]), text)
        return self.context.redactor.text(text)


_DESCRIPTOR = re.compile(r"/proc/self/fd/([0-9]+)")


def _require_allowed_extras(rule: CommandRule, payload: Payload) -> None:
    if payload.stdin and not rule.stdin:
        raise LetsbeError(
            "command_refused", f"the rule {rule.title!r} gives no standard input", hint="Add `stdin: true` to it."
        )
    for name in payload.env:
        if name not in rule.env:
            raise LetsbeError(
                "command_refused",
                f"the rule {rule.title!r} does not let a task set {name}",
                hint=f"Add `env: [{name}]` to it, unless the variable can make the program run something else.",
            )


def _error(data: Data, done: Completed, timeout_s: float) -> LetsbeError | None:
    if done.timed_out:
        return timed_out(timeout_s)
    if done.skipped or done.rc == 0:
        return None
    how = f"exit code {done.rc}" if done.rc is not None else f"ended by {done.signal}"
    return LetsbeError(
        "command_failed", f"{' '.join(data.argv)[:500]}: {how}", hint="Its own words are under stderr in the data."
    )


def _warnings(done: Completed) -> list[str]:
    found = []
    if done.left_behind:
        found.append(f"{done.left_behind} processes that the command left running were killed")
    if done.not_killed:
        found.append(f"processes {', '.join(map(str, done.not_killed))} could not be killed and still run")
    return found
