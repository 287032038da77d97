"""``init``, ``migrate``, ``serve``, ``prune`` and ``openapi``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from letsbe.orchestrator.cli_options import home_option

if TYPE_CHECKING:
    from letsbe.orchestrator.migrations import Migration


@click.command()
@home_option
@click.option("--host", help="Address to serve on (of a new home). [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to serve on (of a new home). [default: 8443]")
@click.option("--san", "names", multiple=True, metavar="NAME", help="DNS name or address for the certificate.")
@click.option("--database", metavar="URL", help="Database (of a new home). [default: SQLite in the home]")
def init(home: str, host: str | None, port: int | None, names: tuple[str, ...], database: str | None) -> None:
    """Make the home directory: configuration, database, CA, server certificate, signing key.

    Run again, it makes what is missing, brings an older database up to date as `migrate` does, and issues the server
    certificate anew when it lacks a name or is about to expire. It never replaces a key.

    A URL of PostgreSQL is postgresql+psycopg://USER@HOST/NAME; its password belongs into ~/.pgpass, since a command
    line can be read by others.
    """
    from letsbe.orchestrator.bootstrap import initialise

    setup = initialise(home, host=host, port=port, names=list(names), database=database)
    for path in setup.made:
        click.echo(f"made     {path}")
    for path in setup.renewed:
        click.echo(f"renewed  {path}")
    _tell(setup.migration)
    if not setup.made and not setup.renewed and setup.migration.before == setup.migration.after:
        click.echo("everything is there already")
    click.echo(f"Agents need {setup.home.ca} as their ca_file.")
    click.echo(f"Next: letsbe-orchestrator serve --home {setup.home.path}")


@click.command()
@home_option
def migrate(home: str) -> None:
    """Bring the database of an older letsbe-orchestrator up to date.

    Stop every `serve` and back the database up before. It is done whole or not at all; until then every other command
    refuses to work.
    """
    from letsbe.orchestrator import migrations
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.store import Store

    migration = migrations.migrate(Store(open_home(home).database_url))
    _tell(migration)
    if migration.before == migration.after:
        click.echo(f"the database is of version {migration.after} already")


@click.command()
@home_option
@click.option("--host", help="Address to serve on instead of the configured one.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port instead of the configured one; 0: a free one.")
@click.option("--plain-http", is_flag=True, help="Without TLS; on loopback only.")
@click.option("--url-file", metavar="FILE", help="Write the URL into FILE once connections are taken.")
def serve(home: str, host: str | None, port: int | None, plain_http: bool, url_file: str | None) -> None:
    """Serve the API to agents, and the pages to administrators, until SIGTERM."""
    from letsbe.orchestrator import files, server
    from letsbe.orchestrator.home import open_home

    opened = open_home(home)

    def ready(url: str) -> None:
        click.echo(f"listening on {url}")
        if url_file is not None:
            files.replace(os.path.abspath(url_file), f"{url}\n".encode())

    server.serve(
        opened,
        host=opened.settings.host if host is None else host,
        port=opened.settings.port if port is None else port,
        plain_http=plain_http,
        ready=ready,
    )


@click.command()
@home_option
@click.option("--older-than", metavar="SPAN", help="What ended so long ago: 30d, 12w. [default: as configured, 90d]")
@click.option("--check", is_flag=True, help="Count what would be removed, and remove nothing.")
def prune(home: str, older_than: str | None, check: bool) -> None:
    """Remove tasks and outcomes, used and expired enrolment tokens, and runs by hand, older than the configured span.

    What has not ended stays. `serve` does the same once an hour.
    """
    from letsbe.orchestrator import retention
    from letsbe.orchestrator.home import open_home
    from letsbe.orchestrator.times import parse_span

    opened = open_home(home)
    store = opened.store()
    before = time.time() - (opened.settings.retention_days * 86_400 if older_than is None else parse_span(older_than))
    pruned = (retention.prunable if check else retention.prune)(store, before)
    verb = "would remove" if check else "removed"
    click.echo(f"{verb} {pruned}")


def _tell(migration: Migration) -> None:
    if migration.before is None:
        click.echo(f"made     tables of version {migration.after}")
    elif migration.before != migration.after:
        click.echo(f"migrated tables of version {migration.before} to version {migration.after}")


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    from letsbe.orchestrator.app import openapi_document

    click.echo(openapi_document())
