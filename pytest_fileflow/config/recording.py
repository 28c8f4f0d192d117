"""Keeps what is wrong with the variables of a config, and which of them stand where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_fileflow.config.findings import Finding
from pytest_fileflow.config.places import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.findings import Path


@dataclass(frozen=True)
class Recorded:
    """A log that keeps all, under a path: in place of the first ``leaving`` steps of what it is told."""

    at: Path = ()
    leaving: int = 0
    findings: list[Finding] = field(default_factory=list)
    uses: dict[Path, tuple[tuple[str, ...], bool]] = field(default_factory=dict)

    def below(self, path: Path, *, leaving: int = 0) -> Recorded:
        """Return a log of a part, which tells this one."""
        return replace(self, at=path, leaving=leaving)

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Take note of something wrong at a path."""
        self.findings.append(Finding(self.at + path[self.leaving :], message, at_key))

    def used(self, path: Path, names: Sequence[str], *, is_whole: bool) -> None:
        """Take note of the variables of a string, and whether it is nothing but one of them."""
        self.uses[self.at + path[self.leaving :]] = (tuple(names), is_whole)

    def places(self, places: dict[Path, Place], environment: Environment | None) -> dict[Path, Place]:
        """Return places that know of the variables in their strings, and where the values of these stand."""
        marks = environment.marks if environment is not None else {}
        found = dict(places)
        for path, (names, is_whole) in self.uses.items():
            mark = marks.get(("variables", names[0])) if is_whole else None
            source = (environment.file, mark) if environment is not None and mark is not None else None
            found[path] = replace(found.get(path, Place((1, 1))), names=names, source=source)
        return found
