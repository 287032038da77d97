"""The orchestrator's home directory: configuration, keys, certificates, and the SQLite file by default."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from letsbe.decoding import convert
from letsbe.errors import LetsbeError
from letsbe.orchestrator import files
from letsbe.protocol import MAX_BODY_BYTES, MAX_RESULT_BYTES

if TYPE_CHECKING:
    from letsbe.orchestrator.store import Store

DEFAULT_HOME = "/var/lib/letsbe-orchestrator"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``orchestrator.yml`` may say.

    ``database`` is an SQLAlchemy URL; null is SQLite in the home. Tasks and outcomes are removed ``retention_days``
    after their end, what agents told of runs by hand so long after it was told.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8443
    database: str | None = None
    lease_s: Annotated[int, Meta(ge=300, le=86_400)] = 900
    next_poll_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    result_bytes: Annotated[int, Meta(ge=1024, le=MAX_BODY_BYTES)] = MAX_RESULT_BYTES
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] = 90


class Home(Struct, frozen=True):
    """An orchestrator's directory, as :func:`open_home` reads it and ``bootstrap.initialise`` makes it."""

    path: str
    settings: Settings

    @property
    def ca(self) -> str:
        """The CA certificate that agents need as their ``ca_file``."""
        return os.path.join(self.path, "ca.pem")

    @property
    def server_certificate(self) -> str:
        """The certificate that ``serve`` shows."""
        return os.path.join(self.path, "server.pem")

    @property
    def server_key(self) -> str:
        """The private key of :attr:`server_certificate`."""
        return os.path.join(self.path, "server.key")

    @property
    def signing_key(self) -> str:
        """The private key that signs tasks."""
        return os.path.join(self.path, "signing.key")

    @property
    def signing_public_key(self) -> str:
        """The public half of :attr:`signing_key`, base64 of 32 bytes."""
        return os.path.join(self.path, "signing.pub")

    @property
    def admin(self) -> str:
        """The password hash of the pages' administrator; absent while there is none."""
        return os.path.join(self.path, "admin.json")

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.settings.database or f"sqlite:///{os.path.join(self.path, 'orchestrator.db')}"

    def store(self) -> Store:
        """The database, checked to hold the tables of this version."""
        from letsbe.orchestrator.store import Store

        store = Store(self.database_url)
        store.check()
        return store

    def public_key(self) -> str:
        """The base64 of the public signing key. Raises ``signing_key_unreadable``."""
        text = files.read(self.signing_public_key).decode(errors="replace").strip()
        try:
            if len(base64.b64decode(text, validate=True)) == 32:
                return text
        except ValueError:
            pass
        raise LetsbeError(
            "signing_key_unreadable",
            f"{self.signing_public_key} is not the base64 of an Ed25519 public key",
            hint="Remove it and run `letsbe-orchestrator init`, which makes it from signing.key.",
        )


def settings_file(path: str) -> str:
    """Where the configuration of the home at ``path`` is."""
    return os.path.join(path, "orchestrator.yml")


def open_home(path: str) -> Home:
    """The home at ``path``. Raises ``not_initialised``, ``unsafe_permissions``, ``invalid_config``."""
    path = os.path.abspath(path)
    if not os.path.isfile(settings_file(path)):
        raise LetsbeError(
            "not_initialised",
            f"{path} is no orchestrator home: it has no orchestrator.yml",
            hint=f"letsbe-orchestrator init --home {path}",
        )
    files.refuse_if_exposed(path)
    return Home(path, load_settings(settings_file(path)))


def load_settings(file: str) -> Settings:
    """The settings in a YAML file; an empty file is all defaults. Raises ``invalid_config``."""
    import yaml

    try:
        found = yaml.safe_load(files.read(file)) or {}
        return convert(found, Settings)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise LetsbeError("invalid_config", f"{file}: {reason}", hint="Correct it; every key is optional.") from error
