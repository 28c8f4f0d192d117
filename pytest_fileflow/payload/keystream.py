"""Where all that looks random in a payload comes from: the keystream of a run."""

from __future__ import annotations

import hashlib
import re
from functools import cache

from pytest_fileflow.payload.pattern import BLOCK_BYTES


def mark(run_id: str) -> str:
    """Return the 16 hex digits that show the run in a text: its id, or a hash of an id of another form."""
    return run_id if re.fullmatch("[0-9a-f]{16}", run_id) else hashlib.sha256(run_id.encode()).hexdigest()[:16]


def keystream(run_id: str, offset: int, length: int) -> bytes:
    """Return bytes of the AES-256-CTR keystream of a run; the offset is a multiple of 16.

    The key is the SHA-256 of the run id, the counter starts at zero (NIST SP 800-38A, 6.5).
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = hashlib.sha256(run_id.encode()).digest()
    counter = (offset // 16).to_bytes(16, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(_zeros()[:length])


@cache
def _zeros() -> memoryview:
    """Return as many zeros as any block draws bytes: a keystream is what they are encrypted to."""
    return memoryview(bytes(BLOCK_BYTES))
