"""The check ``pgp``: encrypted for the key in a secret, whole, and signed by whom it should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_fileflow.checks.chain import LayerBroken
from pytest_fileflow.checks.gnupg import Decryption, Keyring
from pytest_fileflow.checks.options import text, whole_number
from pytest_fileflow.errors import ConfigInvalid, SecretMalformed
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.gnupg import Event

_PASSPHRASE = frozenset({11, 177})  # libgpg-error's GPG_ERR_BAD_PASSPHRASE and GPG_ERR_NO_PASSPHRASE
_CODE = 0xFFFF  # the half of an error's number that says what it is; the other says whose
_SECRET_KEY = 16  # the bit of IMPORT_OK that says that a private key came
_SIGNATURES = {
    "GOODSIG": "",
    "EXPSIG": "a signature that has expired",
    "EXPKEYSIG": "a key that has expired",
    "REVKEYSIG": "a key that was revoked",
    "BADSIG": "a signature that does not fit the content",
    "ERRSIG": "another key",
}


def make(options: Mapping[str, object], expected: Expected) -> Pgp:
    """Return the check, with the keys in a keyring of its own.

    Raises:
        ToolMissing: there is no GnuPG here.
        SecretMissing, SecretMalformed, …: the secret gives no private key.
        ConfigInvalid: ``public_key`` is none, or not that of ``signed_by``.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the secret
    arn = text(options, "secret_arn") or ""
    credentials = expected.credentials(arn)
    keyring = Keyring()
    try:
        _add_private_key(keyring, credentials.private_key or "", arn)
        signers = _signers(keyring, text(options, "public_key"), text(options, "signed_by"))
    except BaseException:  # Ctrl-C too: the keyring holds a private key
        keyring.close()
        raise
    return Pgp(keyring, credentials.passphrase or "", signers, whole_number(options, "max_bytes"))


def _add_private_key(keyring: Keyring, key: str, arn: str) -> None:
    __tracebackhide__ = True
    imported = [event for event in keyring.add(key) if event.name == "IMPORT_OK"]
    if not any(int(event.arguments[0]) & _SECRET_KEY for event in imported):
        raise SecretMalformed(
            f"privateKey in the secret {arn} is not an OpenPGP private key",
            hint='Store JSON: {"privateKey": what gpg --armor --export-secret-keys prints, "passphrase": optional}.',
        )


def _signers(keyring: Keyring, public_key: str | None, signed_by: str | None) -> frozenset[str]:
    """Return the fingerprints of which one must have signed; none where nobody must."""
    if public_key is None:
        return frozenset()
    known = {event.arguments[1] for event in keyring.add(public_key) if event.name == "IMPORT_OK"}
    if not known:
        raise ConfigInvalid("public_key of the check pgp is not an OpenPGP public key")
    if signed_by is None:
        return frozenset(known)
    wanted = signed_by.replace(" ", "").upper()
    if wanted not in known:
        raise ConfigInvalid(
            f"public_key of the check pgp is that of {', '.join(sorted(known))}, not of signed_by {wanted}"
        )
    return frozenset({wanted})


class Pgp:
    """Decrypts as the bytes come; whether they were right is known at the end."""

    def __init__(
        self, keyring: Keyring, passphrase: str, signers: frozenset[str] = frozenset(), max_bytes: int | None = None
    ):
        self.max_bytes = max_bytes
        self._keyring = keyring
        self._passphrase = passphrase
        self._signers = signers
        self._decryption: Decryption | None = None
        self._signatures: tuple[_Signature, ...] = ()

    @property
    def home(self) -> str:
        """Return the folder of the keyring, by which its processes can be told."""
        return self._keyring.home

    def peel(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what is decrypted by now."""
        yield from self._at_work().pump(chunk)

    def _at_work(self) -> Decryption:
        if self._decryption is None:
            self._decryption = Decryption(self._keyring, self._passphrase)
        return self._decryption

    def end(self) -> Iterator[bytes]:
        """Yield the rest; raises LayerBroken where this is not whole, or not encrypted for the key."""
        decryption = self._at_work()
        yield from decryption.finish()
        events = decryption.events
        fault = next((words for applies, words in _FAULTS if applies({event.name for event in events}, events)), None)
        if fault:
            raise LayerBroken(fault)
        self._signatures = _signatures(events)

    def result(self) -> CheckResult:
        """Return whether it is signed by whom it should be."""
        expected = "encrypted for the key in the secret"
        if not self._signers:
            return CheckResult("pgp", True, expected, f"encrypted{', signed' if self._signatures else ''}")
        good = next((each for each in self._signatures if each.is_by(self._signers)), None)
        shown = good or next(iter(self._signatures), None)
        observed = f"encrypted, {shown.text if shown else 'not signed'}"
        return CheckResult(
            "pgp", good is not None, f"{expected}, signed by {' or '.join(sorted(self._signers))}", observed
        )

    def close(self) -> None:
        """End GnuPG, and remove the keys."""
        if self._decryption is not None:
            self._decryption.close()
        self._keyring.close()


@dataclass(frozen=True)
class _Signature:
    """A signature: the short id of its key, what is wrong with it, and, once verified, its keys' fingerprints."""

    key_id: str
    problem: str
    fingerprints: frozenset[str] = frozenset()

    def is_by(self, signers: Collection[str]) -> bool:
        """Return whether it is good, and by one of these."""
        return not self.problem and not self.fingerprints.isdisjoint(signers)

    @property
    def text(self) -> str:
        return f"signed with {self.problem}: {self.key_id}" if self.problem else f"signed by {self.key_id}"


def _signatures(events: Iterable[Event]) -> tuple[_Signature, ...]:
    found: list[_Signature] = []
    for event in events:
        if event.name in _SIGNATURES and event.arguments:
            found.append(_Signature(event.arguments[0], _SIGNATURES[event.name]))
        elif event.name == "VALIDSIG" and found:
            prints = frozenset((event.arguments[0], event.arguments[-1]))  # the signing key's, and its primary key's
            found[-1] = replace(found[-1], key_id=event.arguments[-1], fingerprints=prints)
    return tuple(found)


def _bad_passphrase(_: Collection[str], events: Iterable[Event]) -> bool:
    errors = (event.arguments for event in events if event.name == "ERROR")
    return any(int(code) & _CODE in _PASSPHRASE for place, code, *_ in errors if place == "pkdecrypt_failed")


# In this order: the first that applies is what is said.
_FAULTS: tuple[tuple[Callable[[Collection[str], Iterable[Event]], bool], str], ...] = (
    (_bad_passphrase, "the passphrase in the secret does not open its key"),
    (
        lambda told, _: "NO_SECKEY" in told and "DECRYPTION_KEY" not in told,
        "encrypted for another key than the one in the secret",
    ),
    (
        lambda told, _: "NEED_PASSPHRASE_SYM" in told and "ENC_TO" not in told,
        "encrypted with a passphrase, and not for a key",
    ),
    (lambda told, _: "BEGIN_DECRYPTION" not in told and "NEWSIG" in told, "signed, but not encrypted"),
    (lambda told, _: "BEGIN_DECRYPTION" not in told and "PLAINTEXT" in told, "OpenPGP, but not encrypted"),
    (
        lambda told, _: "BEGIN_DECRYPTION" not in told and "ENC_TO" not in told,
        "this is not OpenPGP data, or no more than its beginning",
    ),
    (
        lambda told, _: "DECRYPTION_OKAY" not in told or bool({"DECRYPTION_FAILED", "BADMDC"} & {*told}),
        "damaged or cut off: the integrity check (MDC) failed",
    ),
)
