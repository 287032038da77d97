"""The subcommand of an executor, made from its declaration alone."""

from __future__ import annotations

import sys
from typing import Any

import click

from letsbe.cli.forms import further_forms
from letsbe.cli.options import config_option, output_option, verbose_option
from letsbe.errors import LetsbeError
from letsbe.executors import executor_class
from letsbe.executors.base import BaseExecutor
from letsbe.seconds import Seconds

_MAX_STDIN = 8 * 1024 * 1024 + 1


class ExecutorCommand(click.Command):
    """``letsbe file-write [PAYLOAD] [--path ...] [--check] ...``"""

    def __init__(self, name: str, task_type: str) -> None:
        self.kind: type[BaseExecutor[Any, Any]] = executor_class(task_type)
        super().__init__(name, callback=self._run, help=_help(self.kind), params=self._common())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Flags for the payload's fields are made only when there is something that could be one."""
        known = {name for parameter in self.params for name in parameter.opts}
        if any(word.startswith("-") and word != "-" and word.partition("=")[0] not in known for word in args):
            self.show_all_flags()
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """A shell wants to know every flag."""
        self.show_all_flags()
        return super().shell_complete(ctx, incomplete)

    def show_all_flags(self) -> None:
        """Add the flags of the payload's fields."""
        from letsbe.cli.payload_flags import flags

        self.params = [self.params[0], *flags(self.kind.payload_type), *self._common()[1:]]

    def _common(self) -> list[click.Parameter]:
        return [
            click.Argument(["payload"], required=False),
            click.Option(["--check"], is_flag=True, help="Show what would change; change nothing."),
            click.Option(["--diff"], is_flag=True, help="Add unified diffs of what changes."),
            click.Option(
                ["--timeout"], type=Seconds(0.1, 86_400), metavar="SECONDS", help="Deadline of the whole run."
            ),
            click.Option(
                ["--lock-wait"],
                type=Seconds(0, 86_400),
                default=0.0,
                metavar="SECONDS",
                help="Wait this long for a resource that another run holds.",
            ),
            output_option(*further_forms(self.kind.type)),
            config_option(),
            verbose_option(),
        ]

    def _run(
        self,
        payload: str | None,
        check: bool,
        diff: bool,
        timeout: float | None,
        lock_wait: float,
        output: str,
        config: str | None,
        verbose: int,
        **fields: Any,
    ) -> int:
        from letsbe.agent.caller import this_caller, this_origin
        from letsbe.agent.outcomes import Request
        from letsbe.agent.runner import Runner
        from letsbe.cli.output import emit_outcome, is_text
        from letsbe.cli.start import start

        settings = start(config, verbose)
        request = Request(
            type=self.kind.type, payload=None, check=check, diff=diff, timeout_s=timeout, lock_wait_s=lock_wait
        )
        try:
            request.payload = _payload(payload, self.kind, fields)
        except LetsbeError as error:
            return emit_outcome(_refusal(request, error), output)
        runner = Runner(settings, origin=this_origin(), caller=this_caller())
        if self.kind.live and isinstance(request.payload, dict) and request.payload.get(self.kind.live) is True:
            from letsbe.cli.live import run_live

            return run_live(runner, request, output)
        if not is_text(output):
            return emit_outcome(runner.run(request), output)
        from letsbe.cli.progress import shown_progress

        with shown_progress(runner):
            outcome = runner.run(request)
        return emit_outcome(outcome, output)


def _payload(argument: str | None, kind: type[BaseExecutor[Any, Any]], fields: dict[str, Any]) -> Any:
    """The payload of a command line: JSON, ``@file`` or ``-``, with flags on top."""
    from letsbe.agent.payloads import parse_json

    value: Any = {}
    if argument is not None:
        value = parse_json(*_read(argument))
    if fields:
        from letsbe.cli.payload_flags import given

        flags = given(kind.payload_type, fields)
        value = {**value, **flags} if isinstance(value, dict) and flags else value
    return value


def _read(argument: str) -> tuple[bytes, str]:
    """The bytes of a payload argument and what to call them in errors."""
    if argument == "-":
        return sys.stdin.buffer.read(_MAX_STDIN), "standard input"
    if not argument.startswith("@"):
        return argument.encode("utf-8", "surrogateescape"), "payload"
    path = argument[1:]
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_STDIN), path
    except OSError as error:
        raise LetsbeError(
            "usage", f"payload file {path}: {error.strerror}", hint="After @ stands the path of a JSON file."
        ) from error


def _refusal(request: Any, error: LetsbeError) -> Any:
    from letsbe.agent.outcomes import Stopwatch
    from letsbe.tools.redaction import Redactor

    return Stopwatch().outcome(request, Redactor(), error=error)


def _help(kind: type[BaseExecutor[Any, Any]]) -> str:
    """The class's docstring, and how a payload is given."""
    text = "\n".join(line.removeprefix("    ") for line in (kind.__doc__ or "").splitlines())
    return (
        f"{text}\n\nPAYLOAD is JSON, @FILE or - (standard input); flags win over it."
        f" `letsbe schema {kind.type}` describes it."
    )
