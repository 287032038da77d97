"""``letsbe-orchestrator``: the command group, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys

import click

from letsbe import __version__
from letsbe.errors import EXIT_INTERRUPTED, EXIT_USAGE, LetsbeError
from letsbe.orchestrator.cli_admin import admin
from letsbe.orchestrator.cli_agents import agents, changes, enrol
from letsbe.orchestrator.cli_keys import keys
from letsbe.orchestrator.cli_server import init, migrate, openapi, prune, serve
from letsbe.orchestrator.cli_submit import sign, submit
from letsbe.orchestrator.cli_tasks import cancel, show, tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="letsbe-orchestrator")
def orchestrator() -> None:
    """Enrols agents, signs tasks for them, and keeps their outcomes.

    The commands work on the database of the home directory, whether `serve` runs or not.
    """


COMMANDS = (
    init,
    migrate,
    serve,
    prune,
    openapi,
    admin,
    enrol,
    agents,
    changes,
    keys,
    sign,
    submit,
    tasks,
    show,
    cancel,
)
for command in COMMANDS:
    orchestrator.add_command(command)


def main() -> None:
    """Entry of the console script. Exit codes: 0, 1 failed, 2 bad usage; with `submit --wait` the outcome's."""
    os.umask(0o077)
    try:
        code = orchestrator.main(prog_name="letsbe-orchestrator", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except LetsbeError as error:
        click.echo(f"letsbe-orchestrator: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes standard output once more at its end
        code = EXIT_INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)
