"""Finds payload patterns and checks by the names that flow configs use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from pytest_fileflow.checks import Expected, Layer, PlaceCheck, StreamCheck
    from pytest_fileflow.payload import Pattern

# From the options in the config and what should have arrived.
CheckFactory = Callable[[Mapping[str, object], "Expected"], "StreamCheck | Layer | PlaceCheck"]
T = TypeVar("T")


class RegistryError(ValueError):
    """A name is registered twice, or is not registered at all."""


class _Names(Generic[T]):
    """The registered things of one kind, by name."""

    def __init__(self, kind: str):
        self._kind = kind
        self._known: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        if not name:
            raise RegistryError(f"a {self._kind} cannot be registered without a name")
        if name in self._known:
            raise RegistryError(f"{self._kind} {name!r} is registered already, and a name can stand for one only")
        self._known[name] = value

    def get(self, name: str) -> T:
        try:
            return self._known[name]
        except KeyError:
            raise RegistryError(self._unknown(name)) from None

    def _unknown(self, name: str) -> str:
        meant = nearest(name, self._known)
        question = f"; did you mean {meant!r}?" if meant else ""
        choice = ", ".join(self.names()) or "none"
        return f"unknown {self._kind} {name!r}{question} (registered: {choice})"

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._known))


class Registry:
    """What flow configs can name. Filled before the first flow is read, only read afterwards.

    Registering a name twice and looking up an unknown one raise RegistryError; nothing is ever
    replaced, and nothing stands in for what is not there.
    """

    def __init__(self) -> None:
        self._patterns: _Names[Pattern] = _Names("payload pattern")
        self._size_problems: dict[str, Callable[[int], str | None]] = {}
        self._checks: _Names[CheckFactory] = _Names("check")
        self._options: dict[str, Mapping[str, object] | None] = {}

    def payload(self, pattern: Pattern) -> None:
        """Register a ``testdata.pattern`` under its own name."""
        self._patterns.add(pattern.name, pattern)
        self._size_problems[pattern.name] = pattern.size_problem

    def check(self, name: str, factory: CheckFactory, options: Mapping[str, object] | None = None) -> None:
        """Register a further check for ``validation.checks``.

        ``options`` is the JSON Schema of the options that a config gives it, an object; without it
        whatever stands there is handed to the factory.
        """
        self._checks.add(name, factory)
        self._options[name] = options

    def pattern_for(self, name: str) -> Pattern:
        """Return a payload pattern."""
        return self._patterns.get(name)

    def check_for(self, name: str) -> CheckFactory:
        """Return the factory of a further check."""
        return self._checks.get(name)

    def pattern_names(self) -> tuple[str, ...]:
        """Return the names of the registered payload patterns, sorted."""
        return self._patterns.names()

    def size_problems(self) -> Mapping[str, Callable[[int], str | None]]:
        """Return a view of the patterns by name, each with its answer to what is wrong with a size in bytes."""
        return MappingProxyType(self._size_problems)

    def checks(self) -> Mapping[str, Mapping[str, object] | None]:
        """Return a view of the registered checks by name, each with the schema of its options, where it has one."""
        return MappingProxyType(self._options)

    def check_names(self) -> tuple[str, ...]:
        """Return the names of the registered checks, sorted."""
        return self._checks.names()


def register_builtin_patterns(registry: Registry) -> None:
    """Register the payload patterns that come with the package, by the call that others use."""
    from pytest_fileflow.payload import PATTERNS, WHOLE

    for pattern in (*PATTERNS, *WHOLE):
        registry.payload(pattern)


BUILTIN_CHECKS = (
    *("rows", "csv_header", "jsonl", "fixedwidth", "encoding", "gzip", "zip", "pgp"),
    *("kms", "metadata", "renamed", "sidecars", "tags"),
)


def register_builtin_checks(registry: Registry) -> None:
    """Register the further checks that come with the package; what makes one is imported by its first use."""
    for name in BUILTIN_CHECKS:
        registry.check(name, partial(_make_check, name))


def _make_check(name: str, options: Mapping[str, object], expected: Expected) -> StreamCheck | Layer | PlaceCheck:
    from importlib import import_module

    made: StreamCheck | Layer | PlaceCheck = import_module(f"pytest_fileflow.checks.{name}").make(options, expected)
    return made
