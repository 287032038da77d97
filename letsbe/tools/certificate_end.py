"""When a certificate ends."""

from __future__ import annotations


def not_after(der: bytes) -> float:
    """Seconds since the epoch; :class:`ValueError` for what is no certificate."""
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate(der).not_valid_after_utc.timestamp()
