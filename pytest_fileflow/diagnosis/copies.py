"""Whether a file that arrived intact was delivered more than once: one look at its folder, and no more waiting."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.diagnosis import naming
from pytest_fileflow.diagnosis.budget import Budget
from pytest_fileflow.diagnosis.surroundings import Surroundings
from pytest_fileflow.due import Due
from pytest_fileflow.endpoints import KeepsVersions
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.model import CheckResult, S3Location

if TYPE_CHECKING:
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Flow, Location, Run, Stat
    from pytest_fileflow.streams import Tools

LOOK_SECONDS = 2.0  # a passing run is not kept waiting longer by this
LISTED_S3, LISTED = 100, 5000
READ_BYTES = 64 * 1024 * 1024  # a larger file of the very same size is taken for a copy unread
COINCIDENCE_BYTES = 4096  # and a smaller one that cannot be read may have its size by chance


@dataclass(frozen=True)
class Copies:
    """The names under which a file lies in its folder, and how many versions of it are kept under its own name."""

    names: tuple[str, ...]
    versions: int = 1

    @property
    def check(self) -> CheckResult:
        """Return the row of the run's checks."""
        number = len(self.names) - 1 + self.versions
        if number == 1:
            return CheckResult("copies", True, "1 copy", "1 copy")
        own = [f"{self.versions} versions of {self.names[0]}"] if self.versions > 1 else [self.names[0]]
        return CheckResult("copies", False, "1 copy", f"{number} copies: {', '.join((*own, *self.names[1:]))}")

    def strays(self, location: Location, run_id: str) -> tuple[tuple[Location, str], ...]:
        """Return the copies that the flow made beyond the first, told by the run id in their names."""
        return tuple((location, name) for name in self.names[1:] if naming.holds(name, run_id))


def look(flow: Flow, run: Run, stat: Stat, sha256: str | None, tools: Tools) -> Copies | None:
    """Return the copies of a file that arrived, None where its folder cannot be listed.

    A copy has the run id in its name, the file's size, and its SHA-256 as far as that can be read; of
    an empty file, a name that only a copy has.
    """
    budget = Budget(tools, LOOK_SECONDS)
    endpoint = tools.endpoint(flow.target)
    try:
        shown = budget.ask("the folder's copies", lambda: _shown(endpoint, flow.target, run, stat, tools))
    except FileflowError:
        return None
    newest, versions = shown
    if all(each.name != stat.name for each in newest):
        return None  # not what was seen to arrive: a listing that lags, or somebody has taken the file
    due = Due.of(flow, run)
    # Under its old name it is one more, unless it was sent to this very place.
    own = {name for _, name in run.written} - {run.file.name} | {stat.name, *due.name.others}
    others = [each for each in newest if run.run_id in each.name and each.name not in own]
    surroundings = Surroundings(run, due, tools, Budget(tools))
    copies = [
        each.name
        for each in others
        if _is_another(each, stat, due) or _is_copy(each, stat, sha256, flow.target, surroundings)
    ]
    again = sum(1 for each in versions if (each.name, each.size) == (stat.name, stat.size))
    return Copies((stat.name, *sorted(copies)), max(1, again))


def _shown(endpoint: Endpoint, location: Location, run: Run, stat: Stat, tools: Tools) -> tuple[list[Stat], list[Stat]]:
    """Return the files that may be copies, and all versions of them that are kept, with one request."""
    if not isinstance(location, S3Location):
        return tools.listings.with_name(stat.name, location, lambda: endpoint.list(limit=LISTED)), []
    stem = posixpath.commonprefix([naming.stem(name, run.run_id) for name in (run.file.name, stat.name)])
    if isinstance(endpoint, KeepsVersions):
        try:
            kept = endpoint.versions(stem, LISTED_S3)
        except FileflowError:  # listing versions needs a permission of its own
            kept = None
        if kept is not None:
            return [stat for stat, is_newest in kept if is_newest], [stat for stat, _ in kept]
    return endpoint.list(stem, LISTED_S3), []


def _is_another(other: Stat, stat: Stat, due: Due) -> bool:
    """Tell by its name alone that a file is a second one: a flow that wraps may make other bytes each time."""
    if due.name.exact is None and due.name.fits(other.name):
        return True
    return bool(due.adds) and naming.is_copy_of(other.name, stat.name)


def _is_copy(other: Stat, stat: Stat, sha256: str | None, location: Location, surroundings: Surroundings) -> bool:
    if other.size != stat.size or naming.is_temporary(other.name):
        return False
    if not stat.size:
        return naming.is_copy_of(other.name, stat.name)
    digest = surroundings.digest(location, other) if sha256 and stat.size <= READ_BYTES else None
    if digest is not None:
        return digest == sha256
    return stat.size >= COINCIDENCE_BYTES and not naming.is_companion(other.name, stat.name)
