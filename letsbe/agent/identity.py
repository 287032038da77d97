"""Who this agent is to its orchestrator: id, key, token, and the task keys pinned at registration."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec
from msgspec import Struct

from letsbe.agent.durable import usable, write_private
from letsbe.agent.permissions import refuse_readable_by_others
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import TrustedKey, new_id


class Identity(Struct, frozen=True, kw_only=True):
    """``<state_dir>/identity.json``, mode 0600. ``private_key`` is base64 of the 32-byte Ed25519 seed.

    ``trusted_keys`` are those pinned at registration, or by the key set of ``key_set_version`` since.
    """

    agent_id: str
    private_key: str
    url: str
    agent_token: str | None = None
    trusted_keys: dict[str, TrustedKey] = {}
    key_set_version: int = 0


def path(state_dir: str) -> str:
    """Where the identity is kept."""
    return os.path.join(state_dir, "identity.json")


def load(state_dir: str) -> Identity | None:
    """The identity, None before the first registration.

    Raises ``unsafe_permissions`` when others can read it, ``state_unusable``, ``identity_unreadable``.
    """
    file = path(state_dir)
    try:
        with usable(file), suppress(FileNotFoundError), open(file, "rb") as opened:
            refuse_readable_by_others(file, os.fstat(opened.fileno()))
            return decode(opened.read(), Identity)
    except msgspec.DecodeError as error:
        raise LetsbeError(
            "identity_unreadable",
            f"{file}: {error}",
            hint="Restore it from a backup, or remove it and enrol this machine anew.",
        ) from error
    return None


def save(state_dir: str, identity: Identity) -> None:
    """Keep the identity; on disk when it returns."""
    write_private(path(state_dir), msgspec.json.encode(identity))


def make(url: str) -> Identity:
    """A fresh identity, not registered yet."""
    from base64 import b64encode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = Ed25519PrivateKey.generate().private_bytes_raw()
    return Identity(agent_id=new_id(), private_key=b64encode(seed).decode(), url=url)


def public_key(identity: Identity) -> str:
    """Base64 of the 32-byte public key."""
    from base64 import b64decode, b64encode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(b64decode(identity.private_key))
    return b64encode(key.public_key().public_bytes_raw()).decode()


def fingerprint() -> str:
    """SHA-256 of the machine id: tells a copied identity from the machine that it was made on."""
    from hashlib import sha256

    for file in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(file, "rb") as opened:
                machine = opened.read().strip()
        except OSError:
            continue
        if machine:
            return sha256(b"letsbe:" + machine).hexdigest()
    return sha256(b"letsbe-host:" + os.uname().nodename.encode()).hexdigest()
