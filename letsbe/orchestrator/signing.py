"""The Ed25519 key that signs tasks, and the DSSE envelopes made with it.

Only what submits loads the private key, the pages among it: else ``serve`` needs the public one alone, to tell it to
new agents.
"""

from __future__ import annotations

import base64
import hashlib

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

from letsbe.errors import LetsbeError
from letsbe.orchestrator import files
from letsbe.protocol import TASK_PAYLOAD_TYPE, Envelope, Signature, Task, pae

#: Under this name agents are told the key at registration.
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


def key_id(public_key: bytes) -> str:
    """The ``keyid`` of signatures: the first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def sign(task: Task, key: Ed25519PrivateKey) -> Envelope:
    """The DSSE envelope of ``task``, signed with ``key``."""
    payload = msgspec.json.encode(task)
    signature = key.sign(pae(TASK_PAYLOAD_TYPE, payload))
    return Envelope(
        payloadType=TASK_PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode(),
        signatures=[Signature(keyid=key_id(public_bytes(key)), sig=base64.b64encode(signature).decode())],
    )


def signed_task(envelope: Envelope) -> Task:
    """The task inside an envelope. The signature is not looked at: that is the agent's to do."""
    return msgspec.json.decode(base64.b64decode(envelope.payload), type=Task)
