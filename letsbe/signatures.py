"""Who signed a DSSE envelope: verified in this one place, for the agent and the orchestrator alike."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256

from letsbe.errors import LetsbeError
from letsbe.protocol import Envelope, TrustedKey, pae


class MalformedEnvelope(ValueError):  # noqa: N818 - reads as what it is
    """A part of an envelope is not the base64 that it should be."""


def content(envelope: Envelope) -> bytes:
    """The bytes that an envelope carries. Raises :class:`MalformedEnvelope`."""
    return _base64(envelope.payload, "payload")


def signers(envelope: Envelope, keys: Mapping[str, TrustedKey]) -> list[str]:
    """The names of the keys that signed an envelope, in the order of ``keys``. ``keyid`` is a hint, not a reason.

    Raises :class:`MalformedEnvelope`, and ``invalid_config`` for a key that is none.
    """
    signed = pae(envelope.payloadType, content(envelope))
    signatures = [_base64(signature.sig, "signature") for signature in envelope.signatures]
    return [name for name, key in keys.items() if _has_signed(raw_key(name, key), signed, signatures)]


def raw_key(name: str, key: TrustedKey) -> bytes:
    """The 32 bytes of a public key; ``invalid_config`` when it is none."""
    try:
        raw = b64decode(key.public_key, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise LetsbeError(
            "invalid_config",
            f"trusted key {name}: not base64 of a 32-byte Ed25519 public key",
            hint="Copy it again from the orchestrator.",
        )
    return raw


def key_id(public_key: bytes) -> str:
    """The ``keyid`` of signatures: the first 16 hex digits of the SHA-256 of the raw public key."""
    return sha256(public_key).hexdigest()[:16]


def _has_signed(public_key: bytes, signed: bytes, signatures: list[bytes]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    verifier = Ed25519PublicKey.from_public_bytes(public_key)
    for signature in signatures:
        try:
            verifier.verify(signature, signed)
        except InvalidSignature:
            continue
        return True
    return False


def _base64(text: str, what: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise MalformedEnvelope(f"the envelope's {what} is not base64") from None
