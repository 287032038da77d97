"""``keys``: whose signatures agents believe, and the changing of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from letsbe.orchestrator.cli_options import home_option, output_option
from letsbe.orchestrator.output import draw_table, is_text, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from letsbe.orchestrator.home import Home
    from letsbe.orchestrator.key_sets import Current

_key_option = click.option(
    "--key",
    "key_file",
    metavar="FILE",
    help="The private key (PEM) that signs the change. [default: those in the home]",
)


@click.group()
def keys() -> None:
    """List and change the keys whose tasks agents believe.

    Each change makes a new key set, signed by a key that agents trust; they follow at their next poll, however long
    they were away. Hosts whose own configuration names keys follow none.
    """


@keys.command("list")
@home_option
@output_option
def list_keys(home: str, output: str) -> None:
    """List the keys, and how many agents have followed."""
    from letsbe.orchestrator import key_sets
    from letsbe.orchestrator.home import open_home
    from letsbe.signatures import key_id, raw_key

    opened = open_home(home)
    with opened.store().read() as connection:
        found = key_sets.current(connection, opened.public_key())
        followed = key_sets.followed(connection)
    if not is_text(output):
        return write_json(
            {
                "version": found.version,
                "keys": found.keys,
                "agents": {"followed": followed.get(found.version, 0), "own": followed.get(None, 0)},
                "behind": sum(count for version, count in followed.items() if version not in (found.version, None)),
            }
        )
    draw_table(
        ("key", "keyid", "task types", "paths", "signs"),
        (
            (
                name,
                key_id(raw_key(name, key)),
                ", ".join(key.executors),
                "all" if key.paths is None else ", ".join(key.paths),
                "tasks" if key.public_key == opened.public_key() else "",
            )
            for name, key in found.keys.items()
        ),
        empty="",
    )
    behind = sum(count for version, count in followed.items() if version not in (found.version, None))
    own = followed.get(None, 0)
    click.echo(
        f"key set {found.version}: {followed.get(found.version, 0)} agents have it, {behind} are behind,"
        f" {own} have keys of their own or never polled"
    )
    return None


@keys.command()
@home_option
@output_option
def rotate(home: str, output: str) -> None:
    """Make a new signing key; the old one signs beside it until it is retired.

    Retire the old one when all agents have followed and no task waits that only it has signed.
    """
    from letsbe.orchestrator import keyring
    from letsbe.orchestrator.home import open_home

    opened = open_home(home)
    _tell(keyring.rotate(opened, opened.store(), time.time()), output)


@keys.command()
@click.argument("name")
@click.option("--public-key", required=True, metavar="BASE64", help="The 32 bytes of its public half.")
@click.option(
    "--executor", "executors", multiple=True, metavar="TYPE", help="A task type it may ask for. [default: all]"
)
@click.option("--path", "paths", multiple=True, metavar="DIR", help="Its tasks stay below it. [default: the roots]")
@_key_option
@home_option
@output_option
def add(
    name: str,
    public_key: str,
    executors: tuple[str, ...],
    paths: tuple[str, ...],
    key_file: str | None,
    home: str,
    output: str,
) -> None:
    """Have agents trust one more key, NAME, with rights of its own."""
    from letsbe.orchestrator import keyring
    from letsbe.orchestrator.home import open_home
    from letsbe.protocol import TrustedKey

    opened = open_home(home)
    key = TrustedKey(public_key=public_key, executors=list(executors) or ["*"], paths=list(paths) or None)
    signers = _signers(opened, key_file)
    _tell(keyring.add(opened, opened.store(), name, key, signers, time.time()), output)


@keys.command()
@click.argument("name")
@_key_option
@home_option
@output_option
def retire(name: str, key_file: str | None, home: str, output: str) -> None:
    """Have agents trust the key NAME no more."""
    from letsbe.orchestrator import keyring
    from letsbe.orchestrator.home import open_home

    opened = open_home(home)
    _tell(keyring.retire(opened, opened.store(), name, _signers(opened, key_file), time.time()), output)


def _signers(home: Home, key_file: str | None) -> list[Ed25519PrivateKey]:
    from letsbe.orchestrator import key_sets, keyring, signing

    if key_file is not None:
        return [signing.load_key(key_file)]
    with home.store().read() as connection:
        return keyring.signing_keys(home, key_sets.current(connection, home.public_key()).keys.values())


def _tell(found: Current, output: str) -> None:
    if is_text(output):
        click.echo(f"key set {found.version}: {', '.join(found.keys)}")
    else:
        write_json({"version": found.version, "keys": found.keys})
