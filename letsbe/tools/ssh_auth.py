"""What sshd says of how a client proved who it is: the file named by SSH_USER_AUTH (``ExposeAuthInfo yes``).

One line for each method passed: ``publickey <type> <base64>``, ``password``, ... The key is in the format of RFC 4253,
section 6.6; certificates in that of OpenSSH's PROTOCOL.certkeys, where the fields of the public key stand between a
nonce and the serial number.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from msgspec import Struct

#: Fields of the public key in a certificate, by type.
_KEY_FIELDS = {
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-ed25519": 1,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_CERTIFICATE = "-cert-v01@openssh.com"


class Proof(Struct, frozen=True, kw_only=True):
    """The key that a client used: ``SHA256:...`` as ``ssh-keygen -l`` shows it, and the name in its certificate."""

    fingerprint: str
    certificate_of: str | None = None


def proof(text: str) -> Proof | None:
    """The last key in what sshd wrote; None when there is none, or it can't be read."""
    for line in reversed(text.splitlines()):
        words = line.split()
        if len(words) >= 3 and words[0] == "publickey":
            try:
                return _of_key(words[1], b64decode(words[2], validate=True))
            except ValueError:
                return None
    return None


def _of_key(kind: str, blob: bytes) -> Proof:
    if not kind.endswith(_CERTIFICATE):
        return Proof(fingerprint=_fingerprint(blob))
    plain = kind.removesuffix(_CERTIFICATE)
    if plain.startswith("sk-"):
        plain += "@openssh.com"
    fields = _KEY_FIELDS.get(plain)
    if fields is None:
        raise ValueError(kind)
    _, at = _string(blob, 0)  # the type
    _, start = _string(blob, at)  # the nonce
    at = start
    for _ in range(fields):
        _, at = _string(blob, at)
    key = len(plain).to_bytes(4, "big") + plain.encode() + blob[start:at]
    name, _ = _string(blob, at + 8 + 4)  # serial number and kind of certificate come before it
    return Proof(fingerprint=_fingerprint(key), certificate_of=_plain(name))


def _string(blob: bytes, at: int) -> tuple[bytes, int]:
    """The length-prefixed string at an offset, and where the next field begins."""
    begin = at + 4
    end = begin + int.from_bytes(blob[at:begin], "big")
    if begin > len(blob) or end > len(blob):
        raise ValueError("cut off")
    return blob[begin:end], end


def _fingerprint(blob: bytes) -> str:
    from hashlib import sha256

    return "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")


def _plain(name: bytes) -> str:
    text = name[:200].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)
