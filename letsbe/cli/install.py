"""``letsbe install`` and ``letsbe uninstall``"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

import click

from letsbe.cli.options import output_option

if TYPE_CHECKING:
    from letsbe.agent.installation import Installed

_COLOURS = {"create": "green", "update": "yellow", "remove": "red", "run": "cyan", "keep": "dim"}

_prefix = click.option(
    "--root",
    "prefix",
    metavar="DIR",
    default="",
    help="Work on the machine whose root directory is DIR: an image, a chroot.",
)
_check = click.option("--check", is_flag=True, help="Tell what would be done, and change nothing.")


@click.command()
@_check
@click.option(
    "--user",
    type=click.Choice(["root", "letsbe"]),
    help="Run as root (default), or as an unprivileged user that is made and put into the docker group.",
)
@click.option("--cron", "kind", flag_value="cron", help="Poll from /etc/cron.d (default where there is cron).")
@click.option("--systemd", "kind", flag_value="systemd", help="Poll from a systemd timer instead.")
@click.option("--orchestrator-url", metavar="URL", help="https://HOST:PORT; goes into a new configuration.")
@click.option("--ca-file", metavar="FILE", help="CA certificates of the orchestrator (PEM); copied to /etc/letsbe.")
@click.option(
    "--enrolment-token-file", "token", type=click.File("rb"), metavar="FILE", help="Enrolment token; - reads stdin."
)
@_prefix
def install(
    check: bool,
    user: str | None,
    kind: str | None,
    orchestrator_url: str | None,
    ca_file: str | None,
    token: IO[bytes] | None,
    prefix: str,
    output: str,
) -> int:
    """Set this machine up: the program in /usr/local/bin, directories, configuration, and a poll every minute.

    May be run again at any time, to upgrade or to change the user or the schedule: what is right already stays, and a
    configuration is never rewritten.

    Why root is the default: package upgrades, nginx, backups of volumes and most allowed commands need it. Running as
    `--user letsbe` is enough for stacks and files below the roots. It is no wall against a stolen orchestrator: whoever
    is in the docker group can become root. Limit what tasks may do by `policy` in the configuration.
    """
    from letsbe.agent.convergence import Convergence
    from letsbe.agent.installation import Wanted
    from letsbe.agent.installation import install as install_on

    wanted = Wanted(
        user=user,
        schedule="systemd" if kind == "systemd" else "cron" if kind == "cron" else None,
        orchestrator_url=orchestrator_url,
        ca_file=ca_file,
        enrolment_token=None if token is None else token.read(4096),
    )
    installed = install_on(wanted, Convergence(_real(prefix), check=check))
    _show(installed, output, "Installed", "Next: `letsbe doctor`.")
    return 0


@click.command()
@_check
@click.option("--purge", is_flag=True, help="Remove configuration, identity, journal, undo snapshots and log too.")
@_prefix
def uninstall(check: bool, purge: bool, prefix: str, output: str) -> int:
    """Take back what install set up: the poll every minute and the program.

    Configuration and state stay unless --purge is given. Nothing below the roots is ever touched.
    """
    from letsbe.agent.convergence import Convergence
    from letsbe.agent.removal import remove_binary
    from letsbe.agent.removal import uninstall as uninstall_from

    machine = Convergence(_real(prefix), check=check)
    _show(uninstall_from(machine, purge=purge), output, "Uninstalled", "")
    remove_binary(machine)
    return 0


def _real(prefix: str) -> str:
    return os.path.abspath(prefix) if prefix else ""


def _show(installed: Installed, output: str, done: str, after: str) -> None:
    from letsbe.cli.output import console, is_text, write_json

    if not is_text(output):
        write_json(installed)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for action in installed.actions:
        table.add_row(Text(action.action, _COLOURS[action.action]), Text(action.path), Text(action.why, "dim"))
    screen = console()
    if installed.actions:
        screen.print(table)
    if installed.check:
        screen.print("Would change this." if installed.changed else "Nothing would change.")
    elif installed.changed:
        screen.print(Text.assemble(("✓", "green"), f" {done}. {after}".rstrip()))
    else:
        screen.print(Text.assemble(("✓", "green"), " Nothing changed."))


install.params.append(output_option())
uninstall.params.append(output_option())
