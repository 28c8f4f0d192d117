"""Which places and functions may be touched: the patterns of an allow-list, and what they cover.

A pattern that cannot be shown to cover a place does not: paths with ``..``, backslashes or control
characters, which some server may read as another folder, are covered by none.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_fileflow.errors import NotAllowed
from pytest_fileflow.model import S3Location, SftpLocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_fileflow.model import Location

KINDS: Final = "s3://bucket/prefix, sftp://user@host:port/dir, lambda:name or the ARN of a function"
_ANY: Final = "*"
_HOST_AND_PORT: Final = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}|\*))?")
_FUNCTION_ARN: Final = re.compile(r"arn:([^:]+):lambda:([^:]*):([^:]*):function:([^:]+)(?::([^:]+))?")
_PARTIAL_ARN: Final = re.compile(r"([^:]+):function:([^:]+)(?::([^:]+))?")
_NAME: Final = re.compile(r"([^:]+)(?::([^:]+))?")
_NO_PATTERN: Final = "No pattern covers a path with a segment like . or .., a backslash or a control character: "


class PatternError(ValueError):
    """A text that is no pattern; the message says what to write."""


@dataclass(frozen=True)
class S3Pattern:
    """A bucket, and the folders down to a prefix: all below it is covered."""

    bucket: str
    folders: tuple[str, ...]

    def covers(self, place: Location | str) -> bool:
        """Return whether a place is covered."""
        if not isinstance(place, S3Location) or not _matches(self.bucket, place.bucket):
            return False
        return _leads_to(self.folders, _s3_folders(place))


@dataclass(frozen=True)
class SftpPattern:
    """A server, and the folders down to a directory.

    Without a ``user`` it is for all, and without a ``path`` for all directories. ``is_relative``: the
    folders begin at the login directory.
    """

    user: str | None
    host: str
    port: str
    path: tuple[str, ...] | None
    is_relative: bool

    def covers(self, place: Location | str) -> bool:
        """Return whether a place is covered."""
        if not isinstance(place, SftpLocation) or not self._is_at(place):
            return False
        folders = _sftp_folders(place.dir)
        if self.path is None:
            return _is_clear(folders)
        return self.is_relative != place.dir.startswith("/") and _leads_to(self.path, folders)

    def _is_at(self, place: SftpLocation) -> bool:
        return (
            (self.user is None or _matches(self.user, place.username))
            and (self.host == _ANY or _matches_all(self.host.split("."), host_name(place.host).split(".")))
            and self.port in (_ANY, str(place.port))
        )


@dataclass(frozen=True)
class FunctionPattern:
    """A function: partition, region, account and name, ``*`` for any, and a version or alias, None for any."""

    parts: tuple[str, str, str, str]
    qualifier: str | None = None

    def covers(self, place: Location | str) -> bool:
        """Return whether a function is covered; of one that is named without its account only ``*`` covers that."""
        if not isinstance(place, str):
            return False
        if self.parts == (_ANY,) * 4 and self.qualifier is None:
            return True
        parts, qualifier = _function(place)
        return _matches_all(self.parts, parts) and (
            self.qualifier is None or _matches(self.qualifier, qualifier or "$LATEST")
        )


Pattern = S3Pattern | SftpPattern | FunctionPattern


@dataclass(frozen=True)
class AllowList:
    """Lists of patterns, each of which must cover a place; without any list all is allowed."""

    lists: tuple[tuple[Pattern, ...], ...] = ()

    def allows(self, place: Location | str) -> bool:
        """Return whether a location, or a function by its ARN or name, may be touched."""
        return all(any(pattern.covers(place) for pattern in patterns) for patterns in self.lists)

    def refusal(self, who: str, places: Iterable[Location | str]) -> NotAllowed | None:
        """Return the error of whoever names places that are not allowed, or None."""
        refused = [place for place in dict.fromkeys(places) if not self.allows(place)]
        if not refused:
            return None
        named = ", ".join(place if isinstance(place, str) else place.uri() for place in refused)
        return NotAllowed(f"{who} names what is not on the allow-list: {named}", hint=_hint(refused))

    def require(self, place: Location | str) -> None:
        """Raise NotAllowed for a place that is not allowed: whatever asks for it, and not only a flow."""
        error = self.refusal("the session", (place,)) if self.lists else None
        if error is not None:
            raise error


def parse(text: str) -> Pattern:
    """Read a pattern; raises PatternError.

    >>> parse("s3://acme-*/inbox/").folders, parse("sftp://sftp.acme.example/~/in").is_relative
    (('inbox',), True)
    """
    text = text.strip()
    for start, read in _READERS.items():
        if text.startswith(start):
            return read(text)
    shown = re.sub(r"(?<=:)[^/@]+(?=@)", "…", text.replace("://", ":", 1)) if "@" in text else text
    raise PatternError(f"{shown!r} is of no kind known here: write {KINDS}")


def _read_s3(text: str) -> S3Pattern:
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not bucket:
        raise PatternError(f"{text!r} names no bucket: write s3://bucket or s3://bucket/prefix, and s3://* for all")
    return S3Pattern(bucket, _pattern_folders(text, tuple(prefix.removesuffix("/").split("/")) if prefix else ()))


def _read_sftp(text: str) -> SftpPattern:
    authority, _, path = text.removeprefix("sftp://").partition("/")
    user, at, where = authority.rpartition("@")
    if ":" in user:
        raise PatternError("an sftp:// pattern (not shown) holds a password: write sftp://user@host:port/dir without")
    match = _HOST_AND_PORT.fullmatch(where)
    if match is None or (at and not user):
        raise PatternError(f"{text!r} names no server: write sftp://user@host:port/dir, an IPv6 address in brackets")
    folders = [part for part in path.split("/") if part not in ("", ".")]
    is_relative = folders[:1] == ["~"]
    return SftpPattern(
        user or None,
        host_name(match[1].strip("[]")),
        (match[2] or "22").lstrip("0"),
        _pattern_folders(text, tuple(folders[is_relative:])) if folders else None,
        is_relative,
    )


def _read_function(text: str) -> FunctionPattern:
    arn, name = _FUNCTION_ARN.fullmatch(text), _NAME.fullmatch(text.removeprefix("lambda:"))
    if arn is not None:
        return FunctionPattern((arn[1], arn[2] or _ANY, arn[3] or _ANY, arn[4]), arn[5])
    if name is None or text.startswith("arn:"):
        raise PatternError(
            f"{text!r} names no function: write lambda:name, lambda:name:alias or "
            "arn:aws:lambda:region:account:function:name, each with * where any will do"
        )
    return FunctionPattern((_ANY, _ANY, _ANY, name[1]), name[2])


_READERS: Final[dict[str, Callable[[str], Pattern]]] = {
    "s3://": _read_s3,
    "sftp://": _read_sftp,
    "lambda:": _read_function,
    "arn:": _read_function,
}


def _pattern_folders(text: str, folders: tuple[str, ...]) -> tuple[str, ...]:
    if not _is_clear(folders):
        raise PatternError(f"{text!r} has a segment like . or .., a backslash or a control character: name the folder")
    return folders[:-1] if folders and folders[-1] == _ANY else folders  # its files: those of the folder above


@functools.lru_cache
def host_name(host: str) -> str:
    """Return a host as it is the same for all its spellings.

    >>> host_name("SFTP.Acme.Example."), host_name("0:0::1"), host_name("::ffff:10.0.0.1")
    ('sftp.acme.example', '::1', '10.0.0.1')
    """
    name = host.lower().removesuffix(".")
    if ":" not in name and not name[-1:].isdigit():
        return name
    import ipaddress

    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)


def _s3_folders(place: S3Location) -> tuple[str, ...]:
    return tuple(place.key("").split("/")[:-1])  # S3 resolves nothing: what is empty is a folder too


def _sftp_folders(folder: str) -> tuple[str, ...]:
    return tuple(part for part in folder.split("/") if part not in ("", "."))


def _leads_to(pattern: Sequence[str], folders: Sequence[str]) -> bool:
    if len(pattern) > len(folders) or not _is_clear(folders):
        return False
    return _matches_all(pattern, folders[: len(pattern)])


def _is_clear(folders: Sequence[str]) -> bool:
    """Return whether every server reads these folders alike: Windows takes ``.. `` for ``..``, C ends at a NUL."""
    return not any(
        (part and not part.strip(". ")) or "\\" in part or any(unicodedata.category(letter) == "Cc" for letter in part)
        for part in folders
    )


def _matches_all(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return len(patterns) == len(texts) and all(map(_matches, patterns, texts))


def _matches(pattern: str, text: str) -> bool:
    """Return whether a text is what a pattern says, with any characters for each ``*``; in linear time."""
    first, *rest = pattern.split(_ANY)
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    left = text[len(first) : len(text) - len(last)]
    for part in middle:
        _, found, left = left.partition(part) if part else ("", True, left)
        if not found:
            return False
    return True


def _function(text: str) -> tuple[tuple[str, str, str, str], str | None]:
    """Return the parts of a function's name, ARN or partial ARN, and its version or alias."""
    if (arn := _FUNCTION_ARN.fullmatch(text)) is not None:
        return (arn[1], arn[2], arn[3], arn[4]), arn[5]
    if (partial := _PARTIAL_ARN.fullmatch(text)) is not None:
        return ("", "", partial[1], partial[2]), partial[3]
    if (name := _NAME.fullmatch(text)) is not None:
        return ("", "", "", name[1]), name[2]
    return ("", "", "", text), None


def pattern_of(place: Location | str) -> str | None:
    """Return the pattern that covers a place and as little more as can be, None where none does.

    >>> pattern_of(S3Location("acme", "in")), pattern_of("arn:aws:lambda:eu-west-1:1:function:copy:live")
    ('s3://acme/in/', 'arn:aws:lambda:eu-west-1:1:function:copy:live')
    """
    if isinstance(place, str):
        return _function_pattern(place)
    if isinstance(place, S3Location):
        folders, text = _s3_folders(place), place.uri()
    else:
        folders = _sftp_folders(place.dir)
        host = f"[{place.host}]" if ":" in place.host else place.host
        start = "" if place.dir.startswith("/") else "~/"
        user = re.sub("[:/]", _ANY, place.username)
        text = f"sftp://{user}@{host}:{place.port}/{start}{'/'.join(folders)}"
    return text if parse_or_none(text, place) else None


def parse_or_none(text: str, place: Location) -> Pattern | None:
    """Return the pattern of a text where there is one that covers a place."""
    try:
        pattern = parse(text)
    except PatternError:
        return None
    return pattern if pattern.covers(place) else None


def _function_pattern(function: str) -> str:
    if _FUNCTION_ARN.fullmatch(function):
        return function
    if (partial := _PARTIAL_ARN.fullmatch(function)) is not None:
        qualifier = f":{partial[3]}" if partial[3] else ""
        return f"arn:*:lambda:*:{partial[1]}:function:{partial[2]}{qualifier}"
    return f"lambda:{function}" if _NAME.fullmatch(function) else "lambda:*"


def _hint(refused: Sequence[Location | str]) -> str:
    patterns = [pattern for place in refused if (pattern := pattern_of(place)) is not None]
    if len(patterns) < len(refused):
        return f"{_NO_PATTERN}name the folder itself in the config."
    lines = " ".join(f"'{pattern}'" for pattern in patterns)
    return (
        "If it is meant to be touched, add to each list that lacks it (--fileflow-allow, fileflow_allow in the ini "
        f"file, allow in the environment's file, allow of the deployment on AWS): {lines}"
    )
