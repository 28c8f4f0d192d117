"""OpenPGP in the sandbox: a key pair for the secrets of ``pgp`` checks, and encryption to its public half.

GnuPG does the work, as it does for the check. A signature cannot be made: only the partner has that key.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHOSE = "pytest-fileflow sandbox"
_SECONDS = 120


class SealingImpossible(ValueError):
    """There is no GnuPG here, or it failed."""


@dataclass(frozen=True)
class KeyPair:
    """Two armored keys that belong together."""

    private: str = field(repr=False)
    public: str


@functools.cache
def key_pair() -> KeyPair:
    """Return this process's key pair, made by the first call; raises SealingImpossible."""
    with _home() as home:
        _gpg(home, "--passphrase", "", "--quick-generate-key", _WHOSE, "future-default", "default", "0")
        private = _gpg(home, "--passphrase", "", "--armor", "--export-secret-keys", _WHOSE)
        return KeyPair(private, _gpg(home, "--armor", "--export", _WHOSE))


def encrypt(body: BinaryIO, made: BinaryIO, public_key: str) -> None:
    """Write a stream anew, encrypted to a key; raises SealingImpossible."""
    with _home() as home:
        key = Path(home, "recipient.asc")
        key.write_text(public_key, encoding="ascii")
        command = [*_command(home), "--trust-model", "always", "--recipient-file", str(key), "--encrypt"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=made, stderr=subprocess.DEVNULL) as process:  # noqa: S603
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                    shutil.copyfileobj(body, pipe, 256 * 1024)
        if process.returncode:
            raise SealingImpossible(f"gpg could not encrypt: it ended with status {process.returncode}")
    made.seek(0, os.SEEK_END)


@contextlib.contextmanager
def _home() -> Iterator[str]:
    """Lend a keyring of its own; its path is short, since that of a socket in it may have some hundred bytes."""
    home = tempfile.mkdtemp(prefix="ff-", dir="/tmp")
    try:
        yield home
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            kill = [shutil.which("gpgconf") or "gpgconf", "--homedir", home, "--kill", "gpg-agent"]
            subprocess.run(kill, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
        shutil.rmtree(home, ignore_errors=True)


def _command(home: str) -> list[str]:
    program = shutil.which("gpg")
    if program is None:
        raise SealingImpossible("pgp needs the program gpg, which is not on PATH: install GnuPG")
    return [program, "--homedir", home, "--no-options", "--batch", "--no-tty", "--pinentry-mode", "loopback"]


def _gpg(home: str, *arguments: str) -> str:
    done = subprocess.run([*_command(home), *arguments], capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    if done.returncode:
        raise SealingImpossible(f"gpg {arguments[-2]} ended with status {done.returncode}")
    return done.stdout.decode("ascii")
