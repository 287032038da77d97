"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable

import click

OUTPUT_MODES = ("auto", "text", "json")


def output_option(*further: str) -> click.Option:
    """``--output``: drawn for a person on a terminal, one JSON document otherwise; ``further`` forms by their names."""
    others = f" Others: {', '.join(further)}." if further else ""
    return click.Option(
        ["--output"],
        type=click.Choice([*OUTPUT_MODES, *further]),
        default="auto",
        show_default=True,
        help=f"Draw for a person (text) or print one JSON document (json); auto: text on a terminal.{others}",
    )


def config_option() -> click.Option:
    """``--config``: another configuration file."""
    return click.Option(
        ["--config"], metavar="FILE", help="Configuration file instead of $LETSBE_CONFIG or /etc/letsbe/letsbe.yml."
    )


def verbose_option() -> click.Option:
    """``-v``: log on standard error."""
    return click.Option(["-v", "--verbose"], count=True, help="Log to standard error too (-vv: debug).")


def shared(*extra: click.Option) -> Callable[[click.Command], click.Command]:
    """Decorator that adds the shared options, after those of the command."""

    def add(command: click.Command) -> click.Command:
        command.params.extend([*extra, output_option(), config_option(), verbose_option()])
        return command

    return add
