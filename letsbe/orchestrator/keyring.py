"""The private keys in the home, and the changes of keys that go with them: rotate, add, retire.

``signing.key`` is the newest; an older one stays as ``signing-<keyid>.key``, and signs beside it, until it is retired:
hosts whose configuration names the older one would believe nothing else.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from letsbe.errors import LetsbeError
from letsbe.orchestrator import files, key_sets, signing
from letsbe.orchestrator.home import Home
from letsbe.orchestrator.key_sets import Current
from letsbe.orchestrator.store import Store
from letsbe.protocol import TrustedKey
from letsbe.signatures import key_id, raw_key

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def signing_keys(home: Home, trusted: Iterable[TrustedKey]) -> list[Ed25519PrivateKey]:
    """The keys that sign a task: the newest, and the older ones that are not retired yet."""
    public = {key.public_key for key in trusted}
    older = [signing.load_key(path) for path in sorted(glob.glob(glob.escape(home.path) + "/signing-*.key"))]
    return [signing.load_key(home.signing_key), *(key for key in older if signing.public_text(key) in public)]


def task_keys(home: Home, found: Current) -> list[Ed25519PrivateKey]:
    """The keys that sign a task. Raises ``no_signing_key`` when no agent that follows ``found`` would believe it."""
    keys = signing_keys(home, found.keys.values())
    if not {signing.public_text(key) for key in keys} & {key.public_key for key in found.keys.values()}:
        raise LetsbeError(
            "no_signing_key",
            f"no private key here is in key set {found.version} ({', '.join(found.keys)}): agents would refuse it",
            hint="Put back the signing.key from after the last `letsbe-orchestrator keys rotate`, or have agents trust"
            " the one that is here: `letsbe-orchestrator keys add`, with --key and a key that may do everything.",
        )
    return keys


def rotate(home: Home, store: Store, now: float) -> Current:
    """A new signing key beside the one that signs now; agents trust both from their next poll on.

    What a crash cut off is completed by the next call. Raises ``signing_key_unreadable``, ``no_signing_key``, and
    ``usage`` when there are as many keys as agents take.
    """
    old = signing.load_key(home.signing_key)
    pending = f"{home.signing_key}.next"
    files.write_new(pending, signing.new_key())
    new = signing.load_key(pending)
    public = signing.public_text(new)
    with store.write() as connection:
        found = key_sets.current(connection, home.public_key())
        if public not in {key.public_key for key in found.keys.values()}:
            keys = {**found.keys, _free_name(found): TrustedKey(public_key=public)}
            found = key_sets.append(connection, found, keys, [old], now)
    files.write_new(_older(home, signing.public_bytes(old)), files.read(home.signing_key))
    files.replace(home.signing_public_key, public.encode() + b"\n")
    files.replace(home.signing_key, files.read(pending))
    os.unlink(pending)
    return found


def add(home: Home, store: Store, name: str, key: TrustedKey, signers: list[Ed25519PrivateKey], now: float) -> Current:
    """One more key that agents shall trust. Raises ``usage`` for what can't be had, ``no_signing_key``."""
    if not _NAME.fullmatch(name):
        raise LetsbeError(
            "usage", f"{name!r} is no name for a key", hint="Letters, digits and ._- are taken, up to 64."
        )
    raw_key(name, key)
    with store.write() as connection:
        found = key_sets.current(connection, home.public_key())
        if name in found.keys or key.public_key in {other.public_key for other in found.keys.values()}:
            raise LetsbeError("usage", f"{name}, or this key, is there already", hint="letsbe-orchestrator keys list")
        return key_sets.append(connection, found, {**found.keys, name: key}, signers, now)


def retire(home: Home, store: Store, name: str, signers: list[Ed25519PrivateKey], now: float) -> Current:
    """Agents trust the key no more from their next poll on; its private half is removed from the home.

    Raises ``usage`` for a name that is not there and for the key that signs tasks now, ``no_signing_key``.
    """
    with store.write() as connection:
        found = key_sets.current(connection, home.public_key())
        key = found.keys.get(name)
        if key is None:
            raise LetsbeError("usage", f"no key {name!r}", hint=f"There are: {', '.join(found.keys)}.")
        if key.public_key == home.public_key():
            raise LetsbeError(
                "usage", f"{name} is the key that signs tasks now", hint="First: letsbe-orchestrator keys rotate"
            )
        rest = {other: kept for other, kept in found.keys.items() if other != name}
        found = key_sets.append(connection, found, rest, signers, now)
    path = _older(home, raw_key(name, key))
    if os.path.exists(path):
        os.unlink(path)
    return found


def _free_name(found: Current) -> str:
    names = (f"main-{number}" for number in itertools.count(found.version + 1))
    return next(name for name in names if name not in found.keys)


def _older(home: Home, public_key: bytes) -> str:
    return os.path.join(home.path, f"signing-{key_id(public_key)}.key")
