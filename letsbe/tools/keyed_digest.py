"""Digests that tell whether two values are equal, and nothing else.

A plain hash of a short secret can be guessed by hashing guesses. These are keyed (HMAC-SHA256, RFC 2104): who does not
know the key can't test a guess. The key is the caller's, or random and forgotten.
"""

from __future__ import annotations

_DIGITS = 12


class KeyedDigest:
    """Digests under one key; a random one when none is given."""

    def __init__(self, key: str | None = None) -> None:
        import secrets

        self._key = key.encode("utf-8", "surrogatepass") if key is not None else secrets.token_bytes(32)

    def of(self, value: str) -> str:
        """12 hex digits (48 bits)."""
        import hmac

        return hmac.new(self._key, value.encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:_DIGITS]
