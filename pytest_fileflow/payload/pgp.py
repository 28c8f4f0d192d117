"""Writes an OpenPGP message to a recipient (RFC 4880; RFC 6637 for elliptic curves), the same one every time.

Session key, padding and ephemeral key are drawn from the run's keystream, where an OpenPGP program draws
them at random: gpg cannot be made to write the same message twice. That gives nothing away that is worth
hiding: the content is synthetic, and whoever knows the run id, which is in the file's name, can make it
anyway. So these messages prove that a transfer decrypts, and keep no secret.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_fileflow.payload.keystream import keystream
from pytest_fileflow.payload.pgp_key import CURVE_25519, ECDH, HASHES, KEK_BYTES, NIST_CURVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve

    from pytest_fileflow.payload.pgp_key import Recipient

AES_256, BLOCK = 9, 16  # RFC 4880, 9.2
PART_BITS = 16  # of a part of a packet whose length is not known before: 64 KiB
_PKESK, _SEIPD, _LITERAL = 1, 18, 11
_LITERAL_HEADER = b"b\x00\x00\x00\x00\x00"  # binary, without name and date
_MDC_HEADER = b"\xd3\x14"


def encrypted(content: Iterator[bytes], to: Recipient, key: str) -> Iterator[bytes]:
    """Yield a message that holds ``content``; all that looks random in it follows from ``key``."""
    drawn = _Drawn(f"pgp {key}")
    session_key = drawn.take(32)
    yield _session_key_packet(session_key, to, drawn)
    yield from _partial(_SEIPD, _protected(_partial(_LITERAL, content, _LITERAL_HEADER), session_key, drawn), b"\x01")


class _Drawn:
    """Bytes that look random, in their order."""

    def __init__(self, key: str):
        self._key = key
        self._at = 0

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        start, self._at = self._at, self._at + -(-length // BLOCK) * BLOCK
        return keystream(self._key, start, length)


# --- Packets (RFC 4880, section 4)


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag]) + _length(len(body)) + body


def _length(length: int) -> bytes:
    if length < 192:  # noqa: PLR2004 - the RFC's own numbers
        return bytes([length])
    if length < 8384:  # noqa: PLR2004
        return (length - 192 + (192 << 8)).to_bytes(2, "big")
    return b"\xff" + length.to_bytes(4, "big")


def _partial(tag: int, content: Iterator[bytes], head: bytes) -> Iterator[bytes]:
    """Yield a packet in parts of 64 KiB, the last of which is shorter."""
    yield bytes([0xC0 | tag])
    waiting, part = bytearray(head), 1 << PART_BITS
    for block in content:
        waiting += block
        whole = len(waiting) // part * part
        if whole:
            yield b"".join(bytes([0xE0 | PART_BITS]) + waiting[at : at + part] for at in range(0, whole, part))
            del waiting[:whole]
    yield _length(len(waiting)) + waiting


def _protected(content: Iterator[bytes], session_key: bytes, drawn: _Drawn) -> Iterator[bytes]:
    """Yield content in AES-256, and what shows that nobody changed it (RFC 4880, section 5.13)."""
    encrypt = _cfb(session_key)
    sha1 = hashlib.sha1(usedforsecurity=False)
    prefix = drawn.take(BLOCK)
    prefix += prefix[-2:]
    sha1.update(prefix)
    yield encrypt(prefix)
    for block in content:
        sha1.update(block)
        yield encrypt(block)
    sha1.update(_MDC_HEADER)
    yield encrypt(_MDC_HEADER + sha1.digest())


def _cfb(session_key: bytes) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    try:
        from cryptography.hazmat.decrepit.ciphers.modes import CFB
    except ImportError:  # before cryptography 47
        from cryptography.hazmat.primitives.ciphers.modes import CFB
    return Cipher(algorithms.AES(session_key), CFB(bytes(BLOCK))).encryptor().update


# --- The session key, for the recipient alone (RFC 4880, section 5.1)


def _session_key_packet(session_key: bytes, to: Recipient, drawn: _Drawn) -> bytes:
    checksum = (sum(session_key) & 0xFFFF).to_bytes(2, "big")
    secret = bytes([AES_256]) + session_key + checksum
    sealed = _ecdh(secret, to, drawn) if to.algorithm == ECDH else _rsa(secret, to, drawn)
    return _packet(_PKESK, b"\x03" + to.key_id + bytes([to.algorithm]) + sealed)


def _mpi(number: bytes) -> bytes:
    value = int.from_bytes(number, "big")
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _rsa(secret: bytes, to: Recipient, drawn: _Drawn) -> bytes:
    """Return the secret under RSA, padded with bytes that are not zero (RFC 8017, 7.2.1)."""
    length = (to.modulus.bit_length() + 7) // 8
    needed = length - len(secret) - 3
    padding = bytes(byte for byte in drawn.take(2 * length) if byte)[:needed]
    message = int.from_bytes(b"\x00\x02" + padding + b"\x00" + secret, "big")
    return _mpi(pow(message, to.exponent, to.modulus).to_bytes(length, "big"))


def _ecdh(secret: bytes, to: Recipient, drawn: _Drawn) -> bytes:
    """Return an ephemeral public key, and the secret wrapped for who shares a secret with it (RFC 6637, section 8)."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    ours, shared = _agreed(to, drawn)
    kdf = bytes([3, 1, to.kdf_hash, to.kek_cipher])
    parameters = to.curve + bytes([ECDH]) + kdf + b"Anonymous Sender    " + to.fingerprint
    hashed = hashlib.new(HASHES[to.kdf_hash], b"\x00\x00\x00\x01" + shared + parameters).digest()
    padding = 40 - len(secret)  # hides which cipher the session key is of
    wrapped = aes_key_wrap(hashed[: KEK_BYTES[to.kek_cipher]], secret + bytes([padding]) * padding)
    return _mpi(ours) + bytes([len(wrapped)]) + wrapped


def _agreed(to: Recipient, drawn: _Drawn) -> tuple[bytes, bytes]:
    """Return an ephemeral public key, and what it and the recipient's key share."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if to.curve == CURVE_25519:
        private = X25519PrivateKey.from_private_bytes(drawn.take(32))
        shared = private.exchange(X25519PublicKey.from_public_bytes(to.point[1:]))
        return b"\x40" + private.public_key().public_bytes_raw(), shared
    curve: EllipticCurve = getattr(ec, NIST_CURVES[to.curve])()
    # Any number from 1 up to the order will do; half a key's length is surely below it.
    own = ec.derive_private_key(int.from_bytes(drawn.take(curve.key_size // 8 - 1), "big") | 1, curve)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(curve, to.point)
    public = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return public, own.exchange(ec.ECDH(), theirs)
