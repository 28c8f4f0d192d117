"""Reads from an OpenPGP public key what it takes to encrypt to its owner (RFC 4880; RFC 6637 for elliptic curves)."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RSA, RSA_ENCRYPT_ONLY, ECDH = 1, 2, 18
CURVE_25519 = bytes.fromhex("0a2b060104019755010501")
NIST_CURVES = {  # by their object identifier with its length (RFC 6637, section 11), as cryptography calls them
    bytes.fromhex("082a8648ce3d030107"): "SECP256R1",
    bytes.fromhex("052b81040022"): "SECP384R1",
    bytes.fromhex("052b81040023"): "SECP521R1",
}
HASHES = {8: "sha256", 9: "sha384", 10: "sha512"}
KEK_BYTES = {7: 16, 8: 24, 9: 32}
_NAMES = {3: "RSA for signatures", 16: "Elgamal", 17: "DSA", 19: "ECDSA", 22: "EdDSA", 25: "X25519", 26: "X448"}
_SIGNATURE, _PRIMARY, _USER_ID, _SUBKEY = 2, 6, 13, 14
_BINDING, _REVOCATIONS = frozenset({0x10, 0x11, 0x12, 0x13, 0x18, 0x1F}), frozenset({0x20, 0x28})
_KEY_FLAGS, _ENCRYPTS = 27, 0x0C  # of communications or of storage
_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n(.*?)"
    r"-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


class KeyProblem(ValueError):
    """The text is no public key that can be encrypted to; says why."""


@dataclass(frozen=True)
class Recipient:
    """A key to encrypt to: its fingerprint, algorithm and the fields of its public half."""

    fingerprint: bytes
    algorithm: int
    modulus: int = 0
    exponent: int = 0
    curve: bytes = b""
    point: bytes = b""
    kdf_hash: int = 0
    kek_cipher: int = 0

    @property
    def key_id(self) -> bytes:
        """Return the eight bytes that a message names its recipient by."""
        return self.fingerprint[-8:]


@dataclass(frozen=True)
class _Key:
    body: bytes
    flags: int | None = None
    is_revoked: bool = False

    @property
    def made(self) -> int:
        return int.from_bytes(self.body[1:5], "big")

    @property
    def algorithm(self) -> int:
        return self.body[5]

    @property
    def can_be_used(self) -> bool:
        encrypts = self.flags is None or bool(self.flags & _ENCRYPTS)
        return encrypts and not self.is_revoked and self.algorithm in (RSA, RSA_ENCRYPT_ONLY, ECDH)


@functools.lru_cache(maxsize=64)
def recipient(armored: str) -> Recipient:
    """Return the newest key of a public key block that messages can be encrypted to; raises KeyProblem.

    Signatures are not verified, and expiry is not looked at: what is encrypted is test data.
    """
    try:
        keys = list(_keys(_packets(_dearmored(armored))))
        usable = [key for key in keys if key.can_be_used]
        if usable:
            return _recipient(max(reversed(usable), key=lambda key: key.made))
    except (IndexError, ValueError) as error:
        if isinstance(error, KeyProblem):
            raise
        raise KeyProblem("is not a whole OpenPGP public key") from error
    names = sorted({_NAMES.get(key.algorithm, f"algorithm {key.algorithm}") for key in keys})
    raise KeyProblem(f"holds no key that can be encrypted to with RSA or ECDH, only {', '.join(names) or 'none'}")


def _dearmored(text: str) -> bytes:
    if "PRIVATE KEY BLOCK" in text:
        raise KeyProblem("is a private key: a config holds public ones only (gpg --armor --export)")
    match = _ARMOR.search(text)
    if match is None:
        raise KeyProblem("is not an armored OpenPGP public key (gpg --armor --export)")
    body = "".join(line for line in match[1].split() if not line.startswith("="))
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise KeyProblem("is not a whole OpenPGP public key") from error


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of every packet (RFC 4880, section 4.2); keys have no partial lengths."""
    at = 0
    while at < len(data):
        head = data[at]
        if head & 0x40:
            tag, (length, size) = head & 0x3F, _new_length(data, at + 1)
        else:
            tag, size = head >> 2 & 0x0F, 1 << (head & 3)
            length = int.from_bytes(data[at + 1 : at + 1 + size], "big")
        at += 1 + size
        body = data[at : at + length]
        if not head & 0x80 or len(body) < length:
            raise KeyProblem("is not a whole OpenPGP public key")
        yield tag, body
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length of the new form, and how many bytes tell it (RFC 4880, 4.2.2 and 5.2.3.1)."""
    first = data[at]
    if first < 192:  # noqa: PLR2004 - the RFC's own numbers
        return first, 1
    if first < 255:  # noqa: PLR2004
        return ((first - 192) << 8) + data[at + 1] + 192, 2
    return int.from_bytes(data[at + 1 : at + 5], "big"), 5


def _keys(packets: Iterator[tuple[int, bytes]]) -> Iterator[_Key]:
    """Yield the keys of a block, each with what the signatures that follow it say."""
    key: _Key | None = None
    for tag, body in packets:
        if tag in (_PRIMARY, _SUBKEY):
            if key is not None:
                yield key
            if body[0] != 4:  # noqa: PLR2004
                raise KeyProblem(f"is an OpenPGP key of version {body[0]}; only version 4 can be encrypted to")
            key = _Key(body)
        elif tag == _SIGNATURE and key is not None:
            key = _signed(key, body)
    if key is not None:
        yield key


def _signed(key: _Key, signature: bytes) -> _Key:
    kind = signature[1]
    if signature[0] != 4 or kind not in _BINDING | _REVOCATIONS:  # noqa: PLR2004
        return key
    if kind in _REVOCATIONS:
        return _Key(key.body, key.flags, is_revoked=True)
    hashed = signature[6 : 6 + int.from_bytes(signature[4:6], "big")]
    flags = next((body[0] for kind, body in _subpackets(hashed) if kind == _KEY_FLAGS and body), key.flags)
    return _Key(key.body, flags, key.is_revoked)


def _subpackets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length, size = _new_length(data, at)
        at += size
        yield data[at] & 0x7F, data[at + 1 : at + length]
        at += length


def _recipient(key: _Key) -> Recipient:
    framed = b"\x99" + len(key.body).to_bytes(2, "big") + key.body  # RFC 4880, 12.2
    fingerprint = hashlib.sha1(framed, usedforsecurity=False).digest()
    fields = key.body[6:]
    if key.algorithm != ECDH:
        modulus, rest = _mpi(fields)
        exponent, _ = _mpi(rest)
        return Recipient(fingerprint, key.algorithm, int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"))
    curve = fields[: 1 + fields[0]]
    point, parameters = _mpi(fields[len(curve) :])
    if curve != CURVE_25519 and curve not in NIST_CURVES:
        raise KeyProblem("is of an elliptic curve other than Curve25519, P-256, P-384 and P-521")
    if parameters[2] not in HASHES or parameters[3] not in KEK_BYTES:
        raise KeyProblem("asks for a hash or cipher that RFC 6637 does not know")
    return Recipient(fingerprint, ECDH, curve=curve, point=point, kdf_hash=parameters[2], kek_cipher=parameters[3])


def _mpi(data: bytes) -> tuple[bytes, bytes]:
    """Split a number off (RFC 4880, 3.2)."""
    length = (int.from_bytes(data[:2], "big") + 7) // 8
    if not length or len(data) < 2 + length:
        raise KeyProblem("is not a whole OpenPGP public key")
    return data[2 : 2 + length], data[2 + length :]
