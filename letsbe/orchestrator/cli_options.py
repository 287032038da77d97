"""Options and parameter types that the commands share."""

from __future__ import annotations

import click

from letsbe.orchestrator.home import DEFAULT_HOME
from letsbe.orchestrator.output import OUTPUT_MODES

home_option = click.option(
    "--home",
    envvar="LETSBE_ORCHESTRATOR_HOME",
    default=DEFAULT_HOME,
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="The orchestrator's directory.",
)

output_option = click.option(
    "--output",
    type=click.Choice(OUTPUT_MODES),
    default="auto",
    show_default=True,
    help="Draw for a person (text) or print one JSON document (json); auto: text on a terminal.",
)


class Label(click.ParamType[tuple[str, str]]):
    """``key=value``."""

    name = "label"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The key and the value."""
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not key=value", param, ctx)
        return key, text
