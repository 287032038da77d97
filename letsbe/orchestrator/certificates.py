"""The self-made certificate authority and the server certificate that it signs (ECDSA, P-256).

Extensions are complete enough for strict verifiers (RFC 5280: subject and authority key identifiers, key usage).
"""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
SERVER_DAYS = 1825
#: A server certificate with less than this left is due for renewal.
RENEW_DAYS = 60

#: Names that every server certificate carries.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def new_key() -> bytes:
    """A fresh P-256 private key: PKCS #8 PEM, not encrypted."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_ca(key_pem: bytes) -> bytes:
    """A self-signed CA certificate (PEM), valid for :data:`CA_DAYS`, that may sign no further CA."""
    key = _load(key_pem)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "letsbe-orchestrator CA")])
    builder = (
        _dated(CA_DAYS)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def issue(ca_pem: bytes, ca_key_pem: bytes, server_key_pem: bytes, names: list[str]) -> bytes:
    """A server certificate (PEM) for ``names`` (DNS names and IP addresses), valid for :data:`SERVER_DAYS`."""
    ca = x509.load_pem_x509_certificate(ca_pem)
    key = _load(server_key_pem).public_key()
    issuer = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _dated(SERVER_DAYS)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "letsbe-orchestrator")]))
        .issuer_name(ca.subject)
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
    )
    return builder.sign(_load(ca_key_pem), hashes.SHA256()).public_bytes(Encoding.PEM)


def names_of(certificate_pem: bytes) -> list[str]:
    """The DNS names and IP addresses that a certificate is for."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.DNSName) + addresses


def days_left(certificate_pem: bytes) -> int:
    """Whole days until a certificate expires; negative when it has."""
    expiry = x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc
    return (expiry - datetime.datetime.now(datetime.UTC)).days


def canonical(name: str) -> str:
    """A name as certificates spell it: IP addresses compressed, DNS names in lower case."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _dated(days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # agents whose clock is behind
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic-curve key")
    return key
