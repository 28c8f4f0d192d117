"""Makes up keys and passwords that nobody has, for callers who must be refused; none is kept or shown."""

from __future__ import annotations

import secrets
from typing import Any

from pytest_fileflow.secret import Credentials

RSA_BITS = 2048


def made_up_credentials(real: Credentials, secret_arn: str) -> Credentials:
    """Return other credentials of the same kind, so that only the key or password itself is wrong.

    A server may take no keys of another type at all, and its refusal would prove nothing.

    Raises:
        SecretMalformed: the real ones cannot be used either.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the key
    return Credentials(
        private_key=_fresh_key_like(real, secret_arn) if real.private_key else None,
        password=secrets.token_urlsafe(24) if real.password else None,
    )


def _fresh_key_like(real: Credentials, secret_arn: str) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from pytest_fileflow.endpoints.privatekey import private_key

    __tracebackhide__ = True
    kind = private_key(real, secret_arn)
    name = "" if kind is None else kind.get_name()
    fresh: Any = ed25519.Ed25519PrivateKey.generate()
    if "rsa" in name:
        fresh = rsa.generate_private_key(65537, RSA_BITS)
    elif name.startswith("ecdsa"):
        curves: dict[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "521": ec.SECP521R1()}
        fresh = ec.generate_private_key(curves[name[-3:]])
    return fresh.private_bytes(  # type: ignore[no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
