"""SHELL: run a command that the host's policy allows, and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.host.clock import timed_out
from letsbe.host.processes import Completed
from letsbe.tools.command_policy import CommandRule, find_rule, path_arguments

MAX_ARGUMENTS = 256
MAX_TIMEOUT_S = 900


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
    cwd: Annotated[str, Meta(description="Working directory, below an allowed root.", max_length=4095)] | None = None
    stdin: Annotated[
        str,
        Meta(
            description="Standard input, at most 1 MiB; the rule must allow one.",
            max_length=1024 * 1024,
            extra={"journal": "digest"},
        ),
    ] = ""
    env: Annotated[
        dict[str, str], Meta(description="Environment variables; the rule must name them.", max_length=100)
    ] = {}
    creates: (
        Annotated[str, Meta(description="Do nothing when this path, below a root, is there.", max_length=4095)] | None
    ) = None
    removes: (
        Annotated[str, Meta(description="Do nothing when this path, below a root, is not there.", max_length=4095)]
        | None
    ) = None
    timeout_s: Annotated[float, Meta(description="Deadline in seconds, at most 900.", gt=0, le=MAX_TIMEOUT_S)] = 60
    max_output: Annotated[
        int, Meta(description="Bytes kept of each stream, head and tail, at most 1 MiB.", ge=1024, le=1024 * 1024)
    ] = 65_536


class Data(base.Data):
    """What SHELL gives."""

    argv: Annotated[list[str], Meta(description="What was run: the resolved program and its arguments.")]
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
    left_behind: Annotated[int, Meta(description="Processes that it left running, which were killed.")] = 0


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
        argv = [self._resolved(payload.argv[0]), *payload.argv[1:]]
        rule = find_rule(self.context.rights.commands, argv[0], argv[1:], self.host.files.roots)
        for path in path_arguments(rule, argv[1:]):
            self.host.files.canonical(path)  # a symlink that leads out is refused
        self._require_allowed_extras(rule, payload)
        self.context.redactor.meet_mapping(payload.env)
        data = Data(argv=argv, rule=rule.title, ran=False)
        if self._nothing_to_do(payload):
            return ExecutionResult(data=data)
        with nullcontext() if payload.cwd is None else self.host.files.directory(payload.cwd) as cwd:
            done = self.host.run(
                argv,
                changes=rule.changes,
                cwd=cwd,
                stdin=payload.stdin.encode(),
                env=payload.env,
                timeout_s=payload.timeout_s,
                output_bytes=payload.max_output,
            )
        self._fill(data, done)
        return ExecutionResult(data=data, changed=rule.changes, error=_error(done, payload), warnings=_warnings(done))

    def undo(self, payload: Payload, data: Data) -> list[str]:  # noqa: ARG002 - the base's signature
        """A command can't be taken back; one that only read needs not."""
        rule = next((rule for rule in self.context.rights.commands if rule.title == data.rule), None)
        return [f"{' '.join(data.argv)} can't be undone"] if data.ran and (rule is None or rule.changes) else []

    def _resolved(self, program: str) -> str:
        """The absolute path, symlinks followed: a rule allows an executable, whatever name leads to it."""
        found = self.host.processes.resolve(program)
        if found is None:
            raise LetsbeError("program_missing", f"{program}: no such program", hint="Is its package installed?")
        return found

    def _require_allowed_extras(self, rule: CommandRule, payload: Payload) -> None:
        if payload.stdin and not rule.stdin:
            raise LetsbeError(
                "command_refused", f"the rule {rule.title!r} gives no standard input", hint="Add `stdin: true` to it."
            )
        for name in payload.env:
            if name not in rule.env:
                raise LetsbeError(
                    "command_refused",
                    f"the rule {rule.title!r} does not let a task set {name}",
                    hint=f"Add `env: [{name}]` to it.",
                )

    def _nothing_to_do(self, payload: Payload) -> bool:
        if payload.creates is not None and self.host.files.exists(payload.creates):
            return True
        return payload.removes is not None and not self.host.files.exists(payload.removes)

    def _fill(self, data: Data, done: Completed) -> None:
        text = self.context.redactor.text
        data.ran = not done.skipped
        data.rc, data.signal = done.rc, done.signal
        data.stdout = text(done.stdout.decode("utf-8", "replace"))
        data.stderr = text(done.stderr.decode("utf-8", "replace"))
        data.stdout_cut, data.stderr_cut = done.stdout_cut, done.stderr_cut
        data.truncated = bool(done.stdout_cut or done.stderr_cut)
        data.timed_out, data.left_behind = done.timed_out, done.left_behind


def _error(done: Completed, payload: Payload) -> LetsbeError | None:
    if done.skipped:
        return None
    if done.timed_out:
        return timed_out(payload.timeout_s)
    if done.rc == 0:
        return None
    how = f"exit code {done.rc}" if done.rc is not None else f"ended by {done.signal}"
    return LetsbeError(
        "command_failed", f"{' '.join(done.argv)[:500]}: {how}", hint="Its own words are under stderr in the data."
    )


def _warnings(done: Completed) -> list[str]:
    if not done.left_behind:
        return []
    return [f"{done.left_behind} processes that the command left running were killed"]
