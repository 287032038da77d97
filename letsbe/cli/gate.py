"""``letsbe gate``"""

from __future__ import annotations

import os

import click

from letsbe.errors import LetsbeError


@click.command()
@click.option("--config", metavar="FILE", help="Configuration file instead of /etc/letsbe/letsbe.yml.")
def gate(config: str | None) -> int:
    """Run the task type that an SSH client asks for: the forced command of a key.

    In authorized_keys: restrict,command="/usr/local/bin/letsbe gate" ssh-ed25519 AAAA... The client sends a task type
    with its payload, as JSON or - for standard input, and --check, --diff, --timeout SECONDS or --lock-wait SECONDS:
    ssh HOST "echo '{}'". It gets the outcome as JSON, and its exit code. policy.ssh says what it may use.
    """
    from letsbe.agent.config import DEFAULT_PATH
    from letsbe.agent.gate import COMMAND_VARIABLE, ask, client
    from letsbe.cli.output import emit_outcome
    from letsbe.cli.start import start

    # As bytes: what a client sends need not be text in any encoding.
    command = os.environb.get(COMMAND_VARIABLE.encode())
    if command is None:
        raise LetsbeError(
            "usage",
            "this key opens no shell: it runs task types, and none was asked for",
            hint="""Like: ssh HOST "echo '{}'". (No client? `gate` is for command="..." in authorized_keys.)""",
        )
    caller = client()
    settings = start(config or DEFAULT_PATH, 0)
    return emit_outcome(ask(command, settings, caller), "json")
