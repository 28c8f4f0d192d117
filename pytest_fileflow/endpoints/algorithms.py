"""Chooses SSH algorithms, and tells what each side offers where they have none in common."""

from __future__ import annotations

import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import paramiko

from pytest_fileflow.endpoints.line import IDENTIFICATION, Route, Timeouts, dial
from pytest_fileflow.errors import FileflowError, NegotiationFailed

if TYPE_CHECKING:
    from collections.abc import Collection

# The fastest ciphers of OpenSSH, which paramiko would ask for last.
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_KEXINIT = 20
_COOKIE_BYTES = 16
_PACKET_LIMIT = 256 * 1024
# Where RFC 4253, section 7.1, has the lists that must have a name in common.
_LISTS = {"key exchange": 0, "host key": 1, "cipher": 2, "MAC": 4}
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


def prefer(options: paramiko.SecurityOptions, first: Collection[str], without: Collection[str]) -> None:
    """Set the order of ciphers, and of host keys: these types first, and those not at all."""
    ciphers = tuple(options.ciphers)
    fast = tuple(cipher for cipher in _FAST_CIPHERS if cipher in ciphers)
    options.ciphers = fast + tuple(cipher for cipher in ciphers if cipher not in fast)
    unwanted = set(_algorithms(without))
    wanted = tuple(kind for kind in options.key_types if kind not in unwanted)
    preferred = tuple(kind for kind in _algorithms(first) if kind in wanted)
    options.key_types = preferred + tuple(kind for kind in wanted if kind not in preferred)


def nothing_in_common(route: Route, timeouts: Timeouts, error: Exception) -> NegotiationFailed:
    """Return the error with both sides' lists, asking the server once more for its own."""
    theirs = _peer_algorithms(route, timeouts)
    ours = _own_algorithms()
    for what, offered in theirs.items():
        if not set(offered) & set(ours[what]):
            reason = (
                f"{route} and this client have no {what} algorithm in common: the server offers "
                f"{', '.join(offered) or 'none'}; this client speaks {', '.join(ours[what])}"
            )
            return NegotiationFailed(reason, evidence={"server": theirs, "client": ours})
    return NegotiationFailed(f"{route} and this client have no algorithm in common: {error}", evidence={"client": ours})


def _own_algorithms() -> dict[str, list[str]]:
    with closing(socket.socket()) as unused:
        options = paramiko.Transport(unused).get_security_options()
    lists = options.kex, options.key_types, options.ciphers, options.digests
    return {what: list(names) for what, names in zip(_LISTS, lists, strict=True)}


def _peer_algorithms(route: Route, timeouts: Timeouts) -> dict[str, list[str]]:
    """Return what a server offers, from the first packet it sends; nothing where it sends none."""
    with suppress(FileflowError, OSError, ValueError), closing(dial(route, timeouts)) as line:
        line.settimeout(timeouts.banner)
        line.sendall(b"SSH-2.0-fileflow\r\n")
        with line.makefile("rb") as stream:
            return _parse_kexinit(_first_packet(stream))
    return {}


def _first_packet(stream: Any) -> bytes:
    """Return the payload of the packet after the identification line (RFC 4253, sections 4.2 and 6)."""
    while not (line := stream.readline(_PACKET_LIMIT)).startswith(IDENTIFICATION):
        if not line:
            raise ValueError("no SSH identification")
    length = int.from_bytes(stream.read(4), "big")
    if not 1 < length <= _PACKET_LIMIT:
        raise ValueError(f"a packet of {length} bytes")
    padding, payload = stream.read(1)[0], stream.read(length - 1)
    return bytes(payload[: len(payload) - padding])


def _parse_kexinit(payload: bytes) -> dict[str, list[str]]:
    message = paramiko.Message(payload)
    if message.get_byte() != bytes((_KEXINIT,)):
        raise ValueError("not a KEXINIT packet")
    message.get_bytes(_COOKIE_BYTES)
    lists = [message.get_list() for _ in range(max(_LISTS.values()) + 1)]
    return {what: lists[index] for what, index in _LISTS.items()}


def _algorithms(key_types: Collection[str]) -> list[str]:
    """Return the signature algorithms of key types: an ssh-rsa key signs with SHA-2 (RFC 8332)."""
    return [name for kind in key_types for name in ((*_RSA, kind) if kind == "ssh-rsa" else (kind,))]
