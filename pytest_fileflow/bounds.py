"""What a session may touch and use up: the allow-list, its budgets, and how many runs a server takes at a time.

Command line, ini file and environment can each only narrow what the others leave: what is given twice
must be on both lists, and the smaller number counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.allow import AllowList
    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.cost import Cost


@dataclass(frozen=True)
class Bounds:
    """A session's bounds; None where there is none. ``allow`` are lists of patterns, each of which must cover a place.

    This is loaded in every pytest run, so what judges patterns is imported where there are some.
    """

    allow: tuple[tuple[str, ...], ...] = ()
    max_bytes: int | None = None
    max_runs: int | None = None
    max_runs_per_host: int | None = None

    @property
    def allow_list(self) -> AllowList:
        """Return the lists as what judges places."""
        from pytest_fileflow.allow import AllowList, parse

        return AllowList(tuple(tuple(map(parse, patterns)) for patterns in self.allow))

    @property
    def has_budget(self) -> bool:
        """Return whether runs or bytes are counted."""
        return self.max_bytes is not None or self.max_runs is not None

    def excess(self, cost: Cost) -> str | None:
        """Return by what a cost is beyond the budget, in one sentence, or None."""
        from pytest_fileflow.model import format_size

        over = []
        if self.max_runs is not None and cost.runs > self.max_runs:
            over.append(f"{cost.runs} runs, and the budget is {self.max_runs} (--fileflow-max-runs)")
        if self.max_bytes is not None and cost.bytes > self.max_bytes:
            budget = f"{format_size(self.max_bytes)} (--fileflow-max-bytes)"
            over.append(f"{format_size(cost.bytes)}, and the budget is {budget}")
        return "; ".join(over) or None

    def narrowed(self, other: Bounds) -> Bounds:
        """Return bounds within both."""
        return Bounds(
            (*self.allow, *other.allow),
            _least(self.max_bytes, other.max_bytes),
            _least(self.max_runs, other.max_runs),
            _least(self.max_runs_per_host, other.max_runs_per_host),
        )

    @classmethod
    def read(cls, config: pytest.Config, environment: Environment | None = None) -> Bounds:
        """Read what all three say; raises pytest.UsageError for a value that cannot be used."""
        bounds = cls() if environment is None else _of_environment(environment)
        for given, origin in ((config.getoption, "--{}"), (config.getini, "ini option {}")):
            values = {name: given(f"fileflow_{name}") for name in ("allow", "max_bytes", *NUMBERS)}
            origins = {name: origin.format(_spelled(name, origin)) for name in values}
            bounds = bounds.narrowed(of_values(values, origins))
        return bounds


def _of_environment(environment: Environment) -> Bounds:
    """Return what an environment says; there a list of patterns that is empty allows nothing."""
    values = {name: getattr(environment, name) for name in ("max_bytes", *NUMBERS)}
    allow: tuple[tuple[str, ...], ...] = ()
    if ("allow",) in environment.marks:
        patterns = [_pattern(text, environment.where("allow", at)) for at, text in enumerate(environment.allow)]
        allow = (tuple(patterns),)
    return Bounds(allow, **values)


NUMBERS = ("max_runs", "max_runs_per_host")


def of_values(values: dict[str, Any], origins: dict[str, str]) -> Bounds:
    """Return the bounds that one place gives, each under its field's name; raises pytest.UsageError.

    ``origins`` are what messages call them. A list of patterns that is empty is none.
    """
    bounds = Bounds()
    if values.get("allow"):
        bounds = replace(bounds, allow=(_patterns(values["allow"], origins["allow"]),))
    if values.get("max_bytes") not in (None, ""):
        bounds = replace(bounds, max_bytes=_size(values["max_bytes"], origins["max_bytes"]))
    numbers = {name: _number(values[name], origins[name]) for name in NUMBERS if values.get(name) not in (None, "")}
    return replace(bounds, max_runs=numbers.get("max_runs"), max_runs_per_host=numbers.get("max_runs_per_host"))


def _patterns(texts: Iterable[str], origin: str) -> tuple[str, ...]:
    return tuple(_pattern(text, origin) for text in texts)


def _pattern(text: str, origin: str) -> str:
    from pytest_fileflow.allow import PatternError, parse

    try:
        parse(text)
    except PatternError as error:
        raise pytest.UsageError(f"{origin}: {error}") from None
    return text


def _size(value: object, origin: str) -> int:
    from pytest_fileflow.config.sizes import parse_size

    text = str(value)
    try:
        return parse_size(int(text) if text.isascii() and text.isdigit() else value)
    except ValueError as error:
        raise pytest.UsageError(f"{origin}: {text!r} {error}") from None


def _number(value: object, origin: str) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise pytest.UsageError(f"{origin}: {value!r} is not a whole number above 0")
    return int(text)


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _spelled(name: str, origin: str) -> str:
    option = f"fileflow_{name}"
    return option.replace("_", "-") if origin.startswith("--") else option


def add_options(parser: pytest.Parser, group: pytest.OptionGroup) -> None:
    """Add the options, each with its ini twin."""
    group.addoption(
        "--fileflow-allow",
        action="append",
        metavar="PATTERN",
        help="touch nothing but this: s3://bucket/prefix, sftp://user@host:port/dir, lambda:name or a function's ARN, "
        "with * as a wildcard; may be given again, and narrows what ini file and environment allow",
    )
    group.addoption(
        "--fileflow-max-bytes",
        metavar="SIZE",
        help="end the session before anything is sent where its files have more bytes together, as in 5GiB",
    )
    group.addoption(
        "--fileflow-max-runs",
        metavar="N",
        help="end the session before anything is sent where it would send more files",
    )
    group.addoption(
        "--fileflow-max-runs-per-host",
        metavar="N",
        help="runs between seed and verdict at a time for each SFTP server, in a session",
    )
    parser.addini("fileflow_allow", "as --fileflow-allow, one a line", type="linelist", default=[])
    for name in ("max_bytes", *NUMBERS):
        parser.addini(f"fileflow_{name}", f"as --fileflow-{name.replace('_', '-')}", default=None)
