"""Making an orchestrator's home. Run again it completes what is missing; it replaces no key, ever."""

from __future__ import annotations

import base64
import json
import os

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.orchestrator import certificates, files, signing
from letsbe.orchestrator.engines import make_engines
from letsbe.orchestrator.home import Home, open_home, settings_file
from letsbe.orchestrator.migrations import Migration, migrate
from letsbe.orchestrator.store import Store


class Setup(Struct, frozen=True):
    """What :func:`initialise` found and did: the files made, the files renewed, what became of the database."""

    home: Home
    made: list[str]
    renewed: list[str]
    migration: Migration


def initialise(
    path: str,
    *,
    host: str | None = None,
    port: int | None = None,
    names: list[str] | None = None,
    database: str | None = None,
) -> Setup:
    """Make the home at ``path``, or complete it; ``names`` are put into the server certificate.

    ``host``, ``port`` and ``database`` (an SQLAlchemy URL) are for a new home: on one that exists they must agree with
    its configuration. Raises ``usage``, ``invalid_config``, ``unsafe_permissions``, ``ca_key_missing``,
    ``database_version``, ``database_unreadable``.
    """
    path = os.path.abspath(path)
    if database is not None:
        make_engines(database)  # refuses what is no URL before it is written down
    _make_directory(path)
    made: list[str] = []
    if files.write_new(settings_file(path), _settings_text(host, port, database).encode()):
        made.append(settings_file(path))
    home = open_home(path)
    _refuse_other_settings(home, host=host, port=port, database=database)
    _make_signing_key(home, made)
    renewed = _make_certificates(home, [certificates.canonical(name) for name in names or []], made)
    store = Store(home.database_url)
    try:
        migration = migrate(store)
    finally:
        store.close()
    return Setup(home, made, renewed, migration)


def _make_directory(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.mkdir(path, mode=0o700)
    except FileExistsError:
        files.refuse_if_exposed(path)
    except OSError as error:
        raise LetsbeError(
            "home_unwritable", f"{path}: {error.strerror}", hint="Name another directory with --home."
        ) from error


def _settings_text(host: str | None, port: int | None, database: str | None) -> str:
    example = "# database: postgresql+psycopg://letsbe@db.example/letsbe   # default: SQLite, orchestrator.db here"
    return f"""\
# letsbe-orchestrator. Every key is optional, an unknown key is an error; `serve` reads it when it starts.
host: "{host or "127.0.0.1"}"
port: {8443 if port is None else port}
{example if database is None else f"database: {json.dumps(database)}"}
# lease_s: 900            # how long a claimed task may go without a heartbeat before it counts as lapsed
# next_poll_s: 0          # ask agents to stay away for so long after a poll
# result_bytes: 1048576   # the largest outcome that is taken; agents shrink theirs to it
# retention_days: 90      # what ended so long ago is removed
"""


def _refuse_other_settings(home: Home, **settings: object) -> None:
    for name, asked in settings.items():
        found = getattr(home.settings, name)
        if asked is not None and asked != found:
            told = "another one" if name == "database" else f"{found}, not {asked}"  # a URL may hold a password
            raise LetsbeError(
                "usage",
                f"{settings_file(home.path)} already says {name}: {told}",
                hint="Edit that file; init changes no configuration that is there.",
            )


def _make_signing_key(home: Home, made: list[str]) -> None:
    if not os.path.exists(home.signing_public_key):
        if files.write_new(home.signing_key, signing.new_key()):
            made.append(home.signing_key)
        public = signing.public_bytes(signing.load_key(home.signing_key))
        if files.write_new(home.signing_public_key, base64.b64encode(public) + b"\n"):
            made.append(home.signing_public_key)


def _make_certificates(home: Home, names: list[str], made: list[str]) -> list[str]:
    ca_key = os.path.join(home.path, "ca.key")
    if not os.path.exists(home.ca):
        if files.write_new(ca_key, certificates.new_key()):
            made.append(ca_key)
        if files.write_new(home.ca, certificates.make_ca(files.read(ca_key))):
            made.append(home.ca)
    if files.write_new(home.server_key, certificates.new_key()):
        made.append(home.server_key)

    wanted = [*certificates.LOOPBACK_NAMES, *_reachable_name(home.settings.host), *names]
    existing = files.read(home.server_certificate) if os.path.exists(home.server_certificate) else None
    if existing is not None:
        known = certificates.names_of(existing)
        if set(wanted) <= set(known) and certificates.days_left(existing) >= certificates.RENEW_DAYS:
            return []
        wanted = known + wanted
    files.replace(home.server_certificate, _issue(home, ca_key, list(dict.fromkeys(wanted))))
    if existing is not None:
        return [home.server_certificate]
    made.append(home.server_certificate)
    return []


def _issue(home: Home, ca_key: str, names: list[str]) -> bytes:
    if not os.path.exists(ca_key):
        raise LetsbeError(
            "ca_key_missing",
            f"{home.server_certificate} must be issued anew, and {ca_key} is not there to sign it",
            hint="Put the CA's key back for the time of the init.",
        )
    try:
        return certificates.issue(files.read(home.ca), files.read(ca_key), files.read(home.server_key), names)
    except (ValueError, TypeError) as error:
        raise LetsbeError(
            "usage",
            f"no certificate for {', '.join(names)}: {error}",
            hint="Names are DNS names in ASCII (punycode) or IP addresses.",
        ) from error


def _reachable_name(host: str) -> list[str]:
    return [] if host in ("0.0.0.0", "::", "") else [certificates.canonical(host)]  # noqa: S104
