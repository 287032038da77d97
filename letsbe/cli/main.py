"""The ``letsbe`` command: a Click tree whose branches are imported when they are used."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

import click

from letsbe import __version__
from letsbe.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE, LetsbeError, Terminated
from letsbe.executors import EXECUTOR_REGISTRY

#: Commands that are no executors: name -> (module:command below this package, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "completion": ("completion:completion", "Print the completion script of a shell."),
    "doctor": ("doctor:doctor", "Look for what would keep this agent from working."),
    "executors": ("catalogue:executors", "List the task types."),
    "gate": ("gate:gate", "Run what an SSH client asks for: the forced command of a key."),
    "history": ("history:history", "Show what was run, or one run by its id."),
    "hold": ("hold:hold", "Begin no task of the orchestrator for a while."),
    "install": ("install:install", "Set this machine up: directories, user, configuration, cron."),
    "poll": ("poll:poll", "Ask the orchestrator for work and do it (cron runs this every minute)."),
    "release": ("hold:release", "End a hold before its time."),
    "schema": ("catalogue:schema", "Print the JSON Schema of a task type."),
    "status": ("status:status", "Show the agent's state: identity, last poll, outbox, running tasks."),
    "undo": ("undo:undo", "Put back the files that a run changed."),
    "uninstall": ("install:uninstall", "Take back what install set up."),
}


def command_name(task_type: str) -> str:
    """The subcommand of a task type: ``ENV_UPDATE`` is ``env-update``."""
    return task_type.lower().replace("_", "-")


class LetsbeGroup(click.Group):
    """The executors of the registry beside the fixed commands, none imported before it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Every name."""
        return sorted([*map(command_name, EXECUTOR_REGISTRY), *COMMANDS])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name, imported now."""
        task_type = name.upper().replace("-", "_")
        if task_type in EXECUTOR_REGISTRY and name == command_name(task_type):
            from letsbe.cli.executor_command import ExecutorCommand

            return ExecutorCommand(name, task_type)
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(f"letsbe.cli.{module}"), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Like Click's, with the nearest name in the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0].lower().replace("_", "-"), self.list_commands(ctx), 1)
            hint = f"Did you mean {close[0]}?" if close else "`letsbe --help` lists the commands."
            raise click.UsageError(f"no command {args[0]!r}. {hint}", ctx) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Names and options for a shell: like Click's, without importing the command behind every name."""
        from click.shell_completion import CompletionItem

        names = {**_task_types(), **{name: line for name, (_, line) in COMMANDS.items()}}
        offered = [CompletionItem(name, help=names[name]) for name in sorted(names) if name.startswith(incomplete)]
        return [*offered, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Task types and other commands apart, for ``--help``."""
        with formatter.section("Task types"):
            formatter.write_dl(list(_task_types().items()))
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(COMMANDS.items())])


def _task_types() -> dict[str, str]:
    """The subcommand of every task type, with one line of help."""
    from letsbe.executors import executor_class

    return {command_name(name): (executor_class(name).__doc__ or "").partition("\n")[0] for name in EXECUTOR_REGISTRY}


@click.group(cls=LetsbeGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="letsbe")
def letsbe() -> None:
    """The SysAdmin agent of this server.

    Runs one task by hand (`letsbe file-write ...`), or fetches signed tasks from the orchestrator (`letsbe poll`).
    """


def main() -> None:
    """Entry of the console script and of the built file."""
    _open_closed_streams()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)  # the SSH session that started it is gone
    try:
        code = letsbe.main(prog_name="letsbe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except LetsbeError as error:
        show_error(error)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt, Terminated):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes standard output once more at its end
        code = EXIT_INTERRUPTED
    except Exception as error:
        code = _show_internal(error)
    sys.exit(code if isinstance(code, int) else 0)


def _open_closed_streams() -> None:
    """Have /dev/null for each standard stream that is closed.

    Else the next file to be opened gets its number, and what is printed there; and Python prints on standard output
    what is meant for a standard error that is not there.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # For both ways: it gets the lowest number that is free, which is another's where the built file holds its.
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115 - to the end


def show_error(error: LetsbeError) -> None:
    """An error for a person, on standard error."""
    click.echo(f"letsbe: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _show_internal(error: Exception) -> int:
    from letsbe.agent.log import logger

    logger().error("internal error", exc_info=error)
    click.echo(f"letsbe: unexpected {type(error).__name__}: {error}", err=True)
    click.echo("  The log has the traceback; it belongs into a bug report.", err=True)
    return EXIT_INTERNAL


def _terminate(*_: object) -> None:
    raise Terminated
