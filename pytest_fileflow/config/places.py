"""Documents with the position of every part: what JSON and YAML become once they must be explained."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_fileflow.config.findings import Finding, Mark, Path

_FLOW_ID = re.compile(
    r"""["']?flow_id["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9_.-]{0,127})["']?\s*(?:[,}\]#]|$)""", re.MULTILINE
)


@dataclass(frozen=True)
class Place:
    """Where a value and its key stand; ``text`` is what was written where YAML read it as another type.

    ``file`` is where that is, if not in the document's own file. ``names`` are the variables in a
    string; ``source`` is the file and position of the one whose value this is as a whole.
    """

    value: Mark
    key: Mark | None = None
    text: str | None = None
    file: str | None = None
    names: tuple[str, ...] = ()
    source: tuple[str, Mark] | None = None


@dataclass
class Document:
    """A value as plain JSON types, where its parts stand, and what reading it found wrong."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def mark(self, finding: Finding) -> Mark:
        """Return the position of a finding, or of the nearest part that has one."""
        return self.spot(finding)[1]

    def spot(self, finding: Finding) -> tuple[str | None, Mark]:
        """Return the position of a finding, with the file where it is another than the document's own."""
        if finding.mark is not None:
            return None, finding.mark
        place = self.place(finding.path)
        if finding.at_key and place.key is not None:
            return place.file, place.key
        return place.source or (place.file, place.value)

    def place(self, path: Path) -> Place:
        """Return the place of a value, or of the nearest part around it that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place((1, 1)))

    def flow_line(self, path: Path) -> int:
        """Return the line of a flow: that of its flow_id where it has one, else where it begins."""
        place = self.places.get((*path, "flow_id")) or self.places.get(path) or Place((1, 1))
        return (place.key or place.value)[0]


@dataclass(frozen=True)
class Unparsed:
    """A text that is no JSON or YAML: the first thing wrong, and what can still be told of its flow."""

    message: str
    mark: Mark
    flow_id: str | None = None
    line: int = 1


def unparsed(text: str, message: str, mark: Mark, first_line: int = 1) -> Unparsed:
    """Describe a text with an error in its syntax, named by the flow_id that can be seen in it."""
    match = _FLOW_ID.search(text)
    if match is None:
        return Unparsed(message, mark, None, mark[0])
    return Unparsed(message, mark, match[1], first_line + text.count("\n", 0, match.start()))
