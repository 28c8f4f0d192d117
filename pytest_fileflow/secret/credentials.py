"""What a secret holds for a login: read out of its text, and kept out of every other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.errors import SecretMalformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MASK = "***"
_KEY_LINE = 16  # a line of a key that is shorter tells nothing, and may stand anywhere
_KEY = "[A-Z ]*PRIVATE KEY(?: BLOCK)?-----"  # PEM, or OpenPGP's armor
_KEY_END = f"-----END {_KEY}"
# Also one whose end, or whose beginning, was cut off.
_KEYS = (
    re.compile(rf"-----BEGIN {_KEY}.*?({_KEY_END}|\Z)", re.DOTALL),
    re.compile(rf"\A.*{_KEY_END}", re.DOTALL),
)


@dataclass(frozen=True, repr=False)
class Credentials:
    """What a login may use. ``private_key`` is PEM text; its repr never shows a value."""

    private_key: str | None = None
    passphrase: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        shown = (f"{name}={'***' if value else None}" for name, value in vars(self).items())
        return f"Credentials({', '.join(shown)})"


def mask(text: str, known: Iterable[Credentials]) -> str:
    """Return a text in which no value of these credentials stands, and no private key at all.

    >>> mask("logging in with hunter2", [Credentials(password="hunter2")])
    'logging in with ***'
    """
    values = {value for credentials in known for value in (credentials.password, credentials.passphrase) if value}
    # What a function logs or returns is mostly JSON: quotes, backslashes and letters are written in other ways there.
    values |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for value in values for ascii_only in (True, False)}
    for credentials in known:
        # A key is logged with its line breaks, or with them escaped, or cut: by lines it is found in any case.
        values |= {line for line in (credentials.private_key or "").split() if len(line) >= _KEY_LINE}
    for key in _KEYS:
        text = key.sub(_MASK, text)
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, _MASK)
    return text


def parse(text: str | bytes, secret_arn: str) -> Credentials:
    """Return the credentials in the text of a secret: a JSON object, or a private key alone.

    Raises:
        SecretMalformed: names the secret and the part, never a value.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the secret
    key = _bare_key(text)
    if key is not None:
        return Credentials(private_key=key)
    content = _decoded(text)
    if not isinstance(content, dict):
        raise SecretMalformed(f"the secret {secret_arn} is neither a JSON object nor a private key")
    found = Credentials(
        private_key=_text(content, "privateKey", secret_arn),
        passphrase=_text(content, "passphrase", secret_arn),
        password=_text(content, "password", secret_arn),
    )
    if found.private_key is None and found.password is None:
        raise SecretMalformed(f"the secret {secret_arn} holds neither privateKey nor password")
    return found


def _bare_key(text: str | bytes) -> str | None:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return plain if plain.lstrip().startswith("-----BEGIN ") else None


def _decoded(text: str | bytes) -> object:
    """Return the JSON value, None where it is none: the decoder's error holds the text, so it ends here."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _text(content: Mapping[str, object], key: str, secret_arn: str) -> str | None:
    __tracebackhide__ = True
    value = content.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SecretMalformed(f"{key} in the secret {secret_arn} is not text")
    return value
