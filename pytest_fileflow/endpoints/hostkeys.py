"""Decides which SSH host keys are trusted, and says what to do about one that is not."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_fileflow.errors import ConfigInvalid, FileflowError, HostKeyMismatch, HostKeyUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 22
_FINGERPRINT = "SHA256:"
_HASHED = "|1|"
_REVOKED = "@revoked"
_ENTRY_FIELDS = 3
_PIN_FIELDS = 2


@dataclass(frozen=True)
class HostKey:
    """A public host key: its type (``ssh-ed25519``) and its bytes on the wire (RFC 4253, 6.6)."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Return the key's fingerprint as OpenSSH shows it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"{_FINGERPRINT}{digest}"

    @property
    def line(self) -> str:
        """Return the key as a public key file has it."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


@dataclass(frozen=True)
class Trust:
    """The keys that are accepted of one server, and where that is written down.

    ``fingerprint`` is set, and ``keys`` empty, where the config pins a fingerprint alone.
    """

    where: str
    origin: str
    keys: tuple[HostKey, ...] = ()
    fingerprint: str | None = None
    revoked: tuple[HostKey, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """Return the types of the trusted keys, so that the server can be asked for these first."""
        return tuple(dict.fromkeys(key.type for key in self.keys))

    def accepts(self, offered: HostKey) -> bool:
        """Tell whether a key that the server has proved to own is trusted."""
        if offered in self.revoked:
            return False
        return offered in self.keys or offered.fingerprint == self.fingerprint

    def refusal(self, offered: Sequence[HostKey]) -> FileflowError:
        """Return the error for a server that offered these keys, none of them trusted."""
        shown = " and ".join(map(str, offered))
        evidence = {"offered": [str(key) for key in offered]}
        if any(key in self.revoked for key in offered):
            return HostKeyMismatch(f"{self.where} offers {shown}, which is revoked in {self.origin}", evidence=evidence)
        expected = self.fingerprint or " or ".join(map(str, self.keys))
        if expected:
            reason = f"{self.where} offers {shown}, but {self.origin} has {expected}"
            return HostKeyMismatch(reason, evidence={**evidence, "expected": expected})
        pin = offered[0].fingerprint
        return HostKeyUnknown(
            f"{self.where} offers {shown}, which is not in {self.origin}",
            hint=f'If its owner confirms this fingerprint, pin it in the config: "host_key": "{pin}"',
            evidence={**evidence, "public_key": offered[0].line},
        )


def trust(host: str, port: int, pin: str | None, known_hosts: Sequence[Path]) -> Trust:
    """Return what is trusted of a server: its pin, or what the known_hosts files say.

    Raises:
        ConfigInvalid: the pin is neither a fingerprint nor a public key.

    """
    where = f"{host}:{port}"
    if pin is not None:
        return _pinned(pin.strip(), where)
    keys: list[HostKey] = []
    revoked: list[HostKey] = []
    for marker, key in _known(host, port, known_hosts):
        (revoked if marker == _REVOKED else keys).append(key)
    origin = " or ".join(map(str, known_hosts)) or "any known_hosts file"
    return Trust(where, origin, tuple(keys), revoked=tuple(revoked))


def _pinned(pin: str, where: str) -> Trust:
    if pin.startswith(_FINGERPRINT):
        fingerprint = pin.split(maxsplit=1)[0].rstrip("=")
        _require_digest(fingerprint, where)
        return Trust(where, "the config", fingerprint=fingerprint)
    fields = pin.split()
    key = _key(fields[0], fields[1]) if len(fields) >= _PIN_FIELDS else None
    if key is None:
        raise ConfigInvalid(f"host_key of {where} is neither a SHA256: fingerprint nor a public key: {pin[:80]!r}")
    return Trust(where, "the config", keys=(key,))


def _require_digest(fingerprint: str, where: str) -> None:
    encoded = fingerprint[len(_FINGERPRINT) :]
    try:
        digest = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigInvalid(f"host_key of {where} is not a whole SHA256 fingerprint: {fingerprint[:80]!r}")


def _known(host: str, port: int, files: Iterable[Path]) -> Iterator[tuple[str, HostKey]]:
    """Yield (marker, key) of every entry for a host; sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.

    Certificate authorities are left out: a host certificate is judged by the key in it.
    """
    name = host.lower() if port == DEFAULT_PORT else f"[{host.lower()}]:{port}"
    for line in _lines(files):
        fields = line.split()
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) < _ENTRY_FIELDS or marker not in {"", _REVOKED} or not _matches(name, fields[0]):
            continue
        key = _key(fields[1], fields[2])
        if key is not None:
            yield marker, key


def _lines(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        try:
            text = path.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("cannot read %s: %s", path, error.strerror)
            continue
        yield from (line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#"))


def _matches(name: str, patterns: str) -> bool:
    """Tell whether a host pattern list names a host; a negated pattern that does decides against it."""
    matched = False
    for pattern in patterns.lower().split(",") if not patterns.startswith(_HASHED) else [patterns]:
        if pattern.startswith("!") and _match_one(name, pattern[1:]):
            return False
        matched = matched or _match_one(name, pattern)
    return matched


def _match_one(name: str, pattern: str) -> bool:
    if pattern.startswith(_HASHED):
        return _match_hashed(name, pattern)
    # Only * and ? are special in known_hosts; a bracket stands for itself.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _match_hashed(name: str, pattern: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[len(_HASHED) :].split("|"))
    except ValueError:
        return False
    # SHA-1 is the file format's choice (HashKnownHosts), and hides names only.
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def _key(kind: str, encoded: str) -> HostKey | None:
    """Return a key whose bytes name the type that stands before them, else None."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    length = int.from_bytes(blob[:4], "big")
    return HostKey(kind, blob) if blob[4 : 4 + length] == kind.encode() else None
