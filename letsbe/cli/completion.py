"""``letsbe completion``"""

from __future__ import annotations

import click

_WHERE = {
    "bash": "/etc/bash_completion.d/letsbe, or: source <(letsbe completion bash)",
    "zsh": "a file _letsbe in a directory of $fpath, or: source <(letsbe completion zsh)",
    "fish": "~/.config/fish/completions/letsbe.fish",
}


@click.command(epilog="Where it goes: " + "; ".join(f"{shell}: {where}" for shell, where in _WHERE.items()) + ".")
@click.argument("shell", type=click.Choice(list(_WHERE)))
def completion(shell: str) -> int:
    """Print the script that completes letsbe's commands, flags and values in a SHELL."""
    from click.shell_completion import ShellComplete, get_completion_class

    from letsbe.cli.main import letsbe

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - Click knows all three
    # Click's class for bash would first start bash to learn its version; the script itself needs no such thing.
    click.echo(ShellComplete.source(kind(letsbe, {}, "letsbe", "_LETSBE_COMPLETE")))
    return 0
