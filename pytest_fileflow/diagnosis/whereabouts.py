"""Where a file is that did not arrive: under another name, in another folder, still at the source, or gone.

The causes outrank each other in this order, since what can be seen is worth more than what was said:

1. ``late``, ``partial.…``, ``content.corrupt``: it lies where it belongs by now, after the
   wait was over: intact, in part, or with other bytes.
2. ``missing.renamed``: it lies in the right folder under another name. A part of it under a
   temporary name is ``partial.truncated``, and so is one in an upload that was never completed.
3. ``missing.misplaced``: it lies in another folder.
4. ``trigger.function_error``, ``trigger.timeout``: the function's own log says that its last try
   failed. A failed first try that was repeated with success says nothing.
5. The cause of an error by which the source does not tell whether the file is still there.
6. ``missing.not_picked_up``, ``missing.lost``: it is still at the source, or gone from there. That
   it now lies in a folder for what has been dealt with is part of the sentence, not another cause.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_fileflow.causes import hint_for
from pytest_fileflow.diagnosis import function_log, naming, neighbours
from pytest_fileflow.diagnosis.surroundings import Found, Surroundings
from pytest_fileflow.diagnosis.words import failed, seconds
from pytest_fileflow.due import Due, name_due
from pytest_fileflow.endpoints import ShowsUploads
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.model import Verdict

if TYPE_CHECKING:
    from pytest_fileflow.diagnosis.budget import Asked, Budget
    from pytest_fileflow.diagnosis.function_log import Words
    from pytest_fileflow.model import Flow, Location, Run, Stat
    from pytest_fileflow.streams import Tools

NEARBY_NAMES = 10  # names from the target's listing that are kept as evidence
NOTES = 5  # of what could not be told
READS = 5  # of a file that is written again and again: it may change under each


def of_missing(flow: Flow, run: Run, tools: Tools, log: Asked[Words] | None, budget: Budget) -> Verdict:
    """Return the verdict on a file that never appeared at the target."""
    waited = f"{seconds(flow.give_up_seconds)} of the trigger (SLO {seconds(flow.validation.expect_within_seconds)})"
    where = f"{name_due(flow, run).text} did not arrive at {flow.target.uri()} within {waited}"
    return _Search(flow, run, tools, budget, where).verdict(log)


def of_vanished(flow: Flow, run: Run, tools: Tools, log: Asked[Words] | None, budget: Budget) -> Verdict:
    """Return the verdict on a file that was there whole, and no longer was when it was to be read."""
    where = f"{name_due(flow, run).text} appeared at {flow.target.uri()} and was gone again before it could be verified"
    search = _Search(flow, run, tools, budget, where)
    found = search.at_target()
    said = function_log.answered(log)
    evidence = search.evidence(found, said)
    if found is not None:
        return found.verdict(evidence)
    return failed("missing.lost", where, evidence)


def of_restless(flow: Flow, run: Run, stat: Stat, tools: Tools, budget: Budget) -> Verdict:
    """Return the verdict on a file that has its full size and is written again and again."""
    uri, rest = flow.target.uri(stat.name), flow.validation.post_arrival_wait_seconds
    search = _Search(flow, run, tools, budget, "")
    endpoint, digest = tools.endpoint(flow.target), None
    for _ in range(READS):
        now = budget.begin(f"the size of {uri}", lambda: endpoint.stat(stat.name)).answer_or(None)
        digest = search.surroundings.digest(flow.target, now) if now is not None else None
        if digest is not None:
            break
    evidence = search.evidence(None, None)
    if digest == Due.of(flow, run).sha256:
        reason = f"{uri} holds the right bytes but is written again and again: it was never at rest for {seconds(rest)}"
        return failed("duplicate", reason, evidence)
    how = "" if digest is None else ", and its bytes are not those that were sent"
    reason = f"{uri} has its full size but is rewritten again and again: never at rest{how}"
    return failed("content.corrupt", reason, evidence)


@dataclasses.dataclass(frozen=True)
class _Trace:
    """A file that was found, and the verdict that this makes."""

    cause: str
    reason: str
    found: Found | None = None

    def verdict(self, evidence: dict[str, object]) -> Verdict:
        strays = self.found.strays if self.found else ()
        return dataclasses.replace(failed(self.cause, self.reason, evidence), strays=strays)


class _Search:
    """One look around for one run."""

    def __init__(self, flow: Flow, run: Run, tools: Tools, budget: Budget, where: str) -> None:
        self._flow = flow
        self._run = run
        self._due = Due.of(flow, run)
        self._tools = tools
        self._budget = budget
        self._where = where
        self.surroundings = Surroundings(run, self._due, tools, budget)
        self._listing: list[str] | None = None

    def verdict(self, log: Asked[Words] | None) -> Verdict:
        source = self._flow.source
        endpoint = self._tools.endpoint(source)
        asked = self._budget.begin(
            f"whether it still lies at {source.uri()}", lambda: endpoint.stat(self._run.file.name)
        )
        trace = self.at_target()
        said = function_log.answered(log)
        if trace is not None:
            return trace.verdict(self.evidence(trace, said))
        cause, hint, at_source = self._at_source(asked)
        reason, evidence = f"{self._where}, and {at_source}", self.evidence(None, said)
        if said is not None and said.cause is not None:
            return failed(said.cause, f"{self._flow.transfer.lambda_arn} {said.sentence}: {reason}", evidence)
        return Verdict("failed", cause, reason, hint, evidence)

    def at_target(self) -> _Trace | None:
        """Return what the file became at the target, or near it."""
        target, surroundings = self._flow.target, self.surroundings
        try:
            listed = surroundings.begin_listing(target).answer()
        except FileflowError as error:
            self._listing = [f"could not be listed: {error.reason}"]
        else:
            self._listing = [f"{stat.name} ({stat.size} bytes)" for stat in listed[:NEARBY_NAMES]]
            trace = self._too_late(listed) or self._renamed(listed) or self._unfinished()
            if trace is not None:
                return trace
        found = surroundings.around(target, self._is_of_source) or surroundings.glued_to_prefix(target)
        if found is None:
            return None
        named = "" if self._due.name.fits(found.stat.name) else " and under another name"
        return _Trace("missing.misplaced", f"{self._where}, but lies at {found.uri}{named}{self._size(found)}", found)

    def evidence(self, trace: _Trace | None, said: Words | None) -> dict[str, object]:
        """Return what was seen, JSON-safe."""
        found = trace.found if trace is not None else None
        notes = self._budget.notes
        facts: dict[str, object] = {
            "listing": self._listing,
            "found": found.uri if found else None,
            "strays": ([location.uri(name) for location, name in found.strays] if found else None) or None,
            "looked_into": (self.surroundings.looked_into if found is None else None) or None,
            **(said.evidence if said is not None else {}),
            "unanswered": [*notes[:NOTES], *([f"and {len(notes) - NOTES} more"] if notes[NOTES:] else [])] or None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def _too_late(self, listed: list[Stat]) -> _Trace | None:
        due, rules = self._due, self._flow.validation
        stat = next((stat for stat in listed if due.name.fits(stat.name)), None)
        if stat is None:
            return None
        if not due.is_whole(stat.size, rules.size_tolerance_bytes):
            reason = f"{self._where}; it began to appear after that, and has {self._bytes(stat)}"
            return _Trace("partial.oversize" if stat.size > (due.size or 0) else "partial.truncated", reason)
        if rules.checksum == "none" or due.sha256 is None:
            return _Trace("late", f"{self._where}; it lies there by now with {stat.size} bytes")
        digest = self.surroundings.digest(self._flow.target, stat)
        if digest is not None and digest != due.sha256:
            return _Trace("content.corrupt", f"{self._where}; by now it lies there with other bytes than were sent")
        how = "its bytes could not be read" if digest is None else "intact"
        return _Trace("late", f"{self._where}; it lies there by now, {how}")

    def _renamed(self, listed: list[Stat]) -> _Trace | None:
        target, surroundings = self._flow.target, self.surroundings
        found = surroundings.in_folder(target, listed, "target")
        found = found or surroundings.by_beginning(target, listed)
        if found is None:
            found = surroundings.by_content(target, listed)
            if found is None:
                return None
            reason = (
                f"{self._where}, but lies there under a name without its run id: {found.uri} has its size and SHA-256"
            )
            return _Trace("missing.renamed", reason, found)
        if found.stat.name == self._run.file.name:
            reason = f"{self._where}, but lies there under the name it was sent with: {found.uri}{self._size(found)}"
            return _Trace("missing.renamed", f"{reason}; the flow did not rename it", found)
        if not naming.is_temporary(found.stat.name):
            reason = f"{self._where}, but lies there under another name: {found.uri}{self._size(found)}"
            return _Trace("missing.renamed", reason, found)
        if self._due.size is None or found.stat.size < self._due.size:
            reason = (
                f"{self._where}, but lies under the temporary name {found.uri} with {self._bytes(found.stat)}: "
                "the writer never finished"
            )
            return _Trace("partial.truncated", reason, found)
        reason = (
            f"{self._where}, but lies under the temporary name {found.uri}{self._size(found)}: it was never renamed"
        )
        return _Trace("missing.renamed", reason, found)

    def _unfinished(self) -> _Trace | None:
        endpoint, name = self._tools.endpoint(self._flow.target), self._due.name.exact
        if name is None or not isinstance(endpoint, ShowsUploads):
            return None
        asked = self._budget.begin("uploads that were begun", lambda: endpoint.unfinished(name))
        begun = asked.answer_or(())
        if not begun:
            return None
        reason = (
            f"{self._where}: an upload of it was begun there and never completed, "
            f"with {max(begun)}{self._of_whole} bytes so far"
        )
        return _Trace("partial.truncated", reason)

    def _is_of_source(self, near: Location) -> bool:
        """Tell whether a folder belongs to the source: what lies there did not get to the target."""
        source, target = self._flow.source, self._flow.target
        if neighbours.place_of(near) == neighbours.place_of(source):
            return True
        if neighbours.is_inside(near, source) and not neighbours.is_inside(target, source):
            return True
        above = neighbours.parent(near)
        homes = {neighbours.place_of(home) for home in (source, neighbours.parent(source)) if home is not None}
        return above is not None and neighbours.place_of(above) in homes and neighbours.is_set_aside(near)

    def _at_source(self, asked: Asked[Stat | None]) -> tuple[str, str, str]:
        """Return the cause that the source gives, its hint, and the end of the sentence."""
        try:
            stat = asked.answer()
        except FileflowError as error:
            # Whether it was picked up cannot be told; that the source cannot be read is what is known.
            return error.cause, error.hint, f"what became of it at the source cannot be told: {error.reason}"
        if stat is not None:
            cause, told = "missing.not_picked_up", f"still lies at {self._flow.source.uri()}"
        else:
            cause, told = "missing.lost", self._gone_from_source()
        return cause, hint_for(cause), told

    def _gone_from_source(self) -> str:
        """Return what became of the source file, as the end of a sentence."""
        source = self._flow.source
        gone = f"is gone from {source.uri()}"
        listed = self.surroundings.begin_listing(source).answer_or([])
        found = self.surroundings.in_folder(source, listed, "source")
        if found is None:
            target = self._flow.target
            found = self.surroundings.around(
                source, lambda near: neighbours.is_inside(near, target), only_set_aside=True
            )
            return gone if found is None else f"{gone}: it now lies at {found.uri}"
        return f"{gone}: it now lies there as {found.stat.name}"

    def _size(self, found: Found) -> str:
        return f" ({found.stat.size} bytes)" if found.stat.size == self._due.size else f" ({self._bytes(found.stat)})"

    def _bytes(self, stat: Stat) -> str:
        return f"{stat.size}{self._of_whole} bytes"

    @property
    def _of_whole(self) -> str:
        return "" if self._due.size is None else f" of {self._due.size}"
