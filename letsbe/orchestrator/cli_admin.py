"""``admin``"""

from __future__ import annotations

import sys

import click

from letsbe.errors import LetsbeError
from letsbe.orchestrator.cli_options import home_option


@click.command()
@click.option("--remove", is_flag=True, help="Take the password away: the pages are closed, every session ends.")
@home_option
def admin(remove: bool, home: str) -> None:
    """Set the password of the pages' administrator.

    It is asked for on a terminal, else read from standard input, without its line feed. A new password ends every
    session; a running `serve` needs no restart.
    """
    from letsbe.orchestrator import admin as administrator
    from letsbe.orchestrator.home import open_home

    opened = open_home(home)
    if remove:
        click.echo("removed" if administrator.remove(opened) else "there was none")
        return
    administrator.set_password(opened, _password())
    click.echo("set; every session has ended")


def _password() -> str:
    if sys.stdin.isatty():
        answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return answer
    try:
        text = sys.stdin.buffer.read(8192).decode()
    except UnicodeDecodeError as error:
        raise LetsbeError("password_unusable", "the password is no UTF-8 text") from error
    return text.removesuffix("\n").removesuffix("\r")
