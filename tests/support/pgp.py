"""OpenPGP keys, files and signatures for tests, made by GnuPG in a keyring that goes with them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from pytest_fileflow.checks.gnupg import Keyring

if TYPE_CHECKING:
    from pathlib import Path


class Party:
    """Somebody with keys: makes, exports and uses them. A context manager."""

    def __init__(self) -> None:
        self._keyring = Keyring()

    def __enter__(self) -> Party:
        return self

    def __exit__(self, *_: object) -> None:
        self._keyring.close()

    def gpg(self, *arguments: str, stdin: bytes = b"", passphrase: str = "") -> bytes:
        """Run GnuPG over a stream."""
        command = self._keyring.command("--passphrase", passphrase, *arguments)
        environment = self._keyring.environment
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def make_key(self, name: str, passphrase: str = "", expires: str = "0", *options: str) -> None:
        """Make a key for signing, with a subkey for encryption."""
        self.gpg(*options, "--quick-generate-key", name, "future-default", "default", expires, passphrase=passphrase)

    def private_key(self, name: str, passphrase: str = "") -> str:
        """Return an armored private key."""
        return self.gpg("--armor", "--export-secret-keys", name, passphrase=passphrase).decode()

    def public_key(self, *names: str) -> str:
        """Return armored public keys."""
        return self.gpg("--armor", "--export", *names).decode()

    def fingerprint(self, name: str) -> str:
        """Return a primary key's fingerprint."""
        told = self.gpg("--with-colons", "--list-keys", name).decode().splitlines()
        return next(line.split(":")[9] for line in told if line.startswith("fpr:"))

    def encrypt_file(self, path: Path, into: Path, *options: str) -> None:
        """Encrypt a file for those whom the options name."""
        self.gpg("--encrypt", "--output", str(into), *options, str(path))
