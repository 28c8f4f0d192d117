"""Reads private keys of every kind and format that SSH servers take, from the text in a secret."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import paramiko

from pytest_fileflow.errors import SecretMalformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.secret import Credentials


def private_key(credentials: Credentials, secret_arn: str) -> paramiko.PKey | None:
    """Return the private key in credentials: ed25519, ecdsa or RSA; OpenSSH, PKCS#1 or PKCS#8 text.

    Raises:
        SecretMalformed: names the secret and what is wrong with its key, never the key.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the key
    if credentials.private_key is None:
        return None
    text = "\n".join(line.strip() for line in credentials.private_key.strip().splitlines()) + "\n"
    passphrase = credentials.passphrase.encode() if credentials.passphrase else None
    loaded, problem = _load(text.encode(), passphrase)
    key = None if loaded is None else _as_paramiko(loaded)
    if key is None:
        wrong = problem or f"is of a kind that is not supported ({type(loaded).__name__}): use ed25519, ecdsa or RSA"
        raise SecretMalformed(f"privateKey in the secret {secret_arn} {wrong}")
    return key


def _load(text: bytes, passphrase: bytes | None) -> tuple[Any, str]:
    """Return the loaded key or, with None, what is wrong; the loader's own errors end here."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if problem := _not_a_private_key(text):
        return None, problem
    is_openssh = b"BEGIN OPENSSH PRIVATE KEY" in text
    load: Any = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    try:
        return load(text, passphrase), ""
    except TypeError:  # a passphrase is missing, or there is one too many
        return _load(text, None) if passphrase else (None, "is encrypted, and the secret holds no passphrase")
    except UnsupportedAlgorithm:
        return None, "is of a kind, or encrypted in a way, that is not supported"
    except ValueError:
        return (
            None,
            "cannot be read with the passphrase given" if passphrase else "cannot be read: it is damaged",
        )


def _not_a_private_key(text: bytes) -> str:
    if text.startswith((b"ssh-", b"ecdsa-", b"-----BEGIN PUBLIC", b"---- BEGIN SSH2")):
        return "is a public key"
    if text.startswith(b"PuTTY-User-Key-File"):
        return "is in PuTTY's own format: convert it with puttygen -O private-openssh"
    if b"\\n" in text:
        return "holds the two characters \\n where line breaks should be"
    return "" if b"PRIVATE KEY-----" in text else "is not PEM text"


def _as_paramiko(loaded: Any) -> paramiko.PKey | None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    kinds: Mapping[Any, type[paramiko.PKey]] = {
        ed25519.Ed25519PrivateKey: paramiko.Ed25519Key,
        ec.EllipticCurvePrivateKey: paramiko.ECDSAKey,
        rsa.RSAPrivateKey: paramiko.RSAKey,
    }
    kind = next((ours for theirs, ours in kinds.items() if isinstance(loaded, theirs)), None)
    if kind is None:
        return None
    try:
        plain = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        return kind.from_private_key(io.StringIO(plain.decode()))
    except (ValueError, paramiko.SSHException):  # a curve that SSH does not have
        return None
