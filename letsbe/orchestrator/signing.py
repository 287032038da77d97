"""The Ed25519 keys that sign tasks and key sets, and the DSSE envelopes made with it.

Only what submits loads the private key, the pages among it: else ``serve`` needs the public one alone, to tell it to
new agents.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator import files
from letsbe.protocol import KEY_SET_PAYLOAD_TYPE, TASK_PAYLOAD_TYPE, Envelope, KeySet, Signature, Task, pae
from letsbe.signatures import key_id

#: Under this name agents are told the first key at registration.
KEY_NAME = "main"


def new_key() -> bytes:
    """A fresh private key: PKCS #8 PEM, not encrypted."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(path: str) -> Ed25519PrivateKey:
    """The private key in the PEM file ``path``. Raises ``signing_key_unreadable``, ``unsafe_permissions``."""
    try:
        with open(path, "rb") as file:
            key = load_pem_private_key(file.read(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LetsbeError(
            "signing_key_unreadable",
            f"{path}: {error}",
            hint="Restore it from a backup; agents trust the key that they were told when they registered.",
        ) from error
    files.refuse_if_exposed(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise LetsbeError("signing_key_unreadable", f"{path} holds no Ed25519 key", hint="Restore it from a backup.")
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 raw bytes of the public half."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as it is written everywhere: base64 of 32 bytes."""
    return base64.b64encode(public_bytes(key)).decode()


def sign(document: Task | KeySet, keys: Sequence[Ed25519PrivateKey]) -> Envelope:
    """The DSSE envelope of a task or a key set, signed with every one of ``keys``."""
    kind = TASK_PAYLOAD_TYPE if isinstance(document, Task) else KEY_SET_PAYLOAD_TYPE
    payload = msgspec.json.encode(document)
    signed = pae(kind, payload)
    return Envelope(
        payloadType=kind,
        payload=base64.b64encode(payload).decode(),
        signatures=[
            Signature(keyid=key_id(public_bytes(key)), sig=base64.b64encode(key.sign(signed)).decode()) for key in keys
        ],
    )


def signed_task(envelope: Envelope) -> Task:
    """The task inside an envelope. The signature is not looked at: that is the agent's to do."""
    return decode(base64.b64decode(envelope.payload), Task)
