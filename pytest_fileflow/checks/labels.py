"""Compares what a storage keeps beside a file, names with values, with what should be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.checks.place import Delivery
    from pytest_fileflow.endpoints import Endpoint

SHOWN = 10  # names, of those that are there


@dataclass(frozen=True)
class Wanted:
    """What must be there: names with their values, and names with any."""

    equals: Mapping[str, str] = field(default_factory=dict)
    present: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, object], *, fold: bool = False) -> Wanted:
        """Return what the options ``equals`` and ``present`` ask for; with ``fold``, names are lower-case."""
        equals, present = options.get("equals"), options.get("present")
        named = {str(name): str(value) for name, value in equals.items()} if isinstance(equals, dict) else {}
        names = tuple(map(str, present)) if isinstance(present, list | tuple) else ()
        if fold:
            return cls({name.lower(): value for name, value in named.items()}, tuple(map(str.lower, names)))
        return cls(named, names)

    def judge(self, check: str, found: Mapping[str, str]) -> CheckResult:
        """Return whether all of it is there, with names and values as texts."""
        problems = [
            f"{name} is missing" if name not in found else f"{name}={found[name]}"
            for name, value in self.equals.items()
            if found.get(name) != value
        ]
        problems += [f"{name} is missing" for name in self.present if name not in found]
        wanted = [*(f"{name}={value}" for name, value in self.equals.items()), *self.present]
        if not problems:
            return CheckResult(check, passed=True, expected=", ".join(wanted), observed="all of it")
        others = ", ".join([*found][:SHOWN]) or "none"
        return CheckResult(
            check, passed=False, expected=", ".join(wanted), observed=f"{', '.join(problems)} (there are: {others})"
        )


class Labels:
    """A check of what a storage keeps beside a file; ``ask`` returns None where an endpoint shows none of it."""

    def __init__(self, check: str, wanted: Wanted, ask: Callable[[Endpoint, str], Mapping[str, str] | None]):
        self._check = check
        self._wanted = wanted
        self._ask = ask

    def look(self, delivery: Delivery) -> CheckResult:
        """Ask for it, and judge it."""
        found = self._ask(delivery.endpoint, delivery.stat.name)
        if found is None:
            raise ConfigInvalid(
                f"check {self._check} is not possible at {delivery.uri}: its endpoint shows no {self._check}"
            )
        return self._wanted.judge(self._check, found)
