"""Which faults the sandbox is to have for which flow: what the command line and the configs switch on."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.faults import Fault, FaultError
from pytest_fileflow.sandbox.places import place_of
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_fileflow.model import Flow, Location

NAMED_AT_MOST = 10
_SPECIAL = frozenset("*?[")


@dataclass(frozen=True)
class Rule:
    """One ``FLOW_ID=FAULT``; the flow id may be a shell-style pattern. ``origin`` is where it was given."""

    flow_id: str
    fault: Fault
    origin: str

    @classmethod
    def parse(cls, text: str, origin: str) -> Rule:
        """Read a rule; raises FaultError, with a message that names its origin."""
        flow_id, equals, fault = text.partition("=")
        if not equals or not flow_id.strip():
            raise FaultError(f"{origin}: {text!r} is not of the form FLOW_ID=FAULT")
        try:
            return cls(flow_id.strip(), Fault.parse(fault.strip()), origin)
        except FaultError as error:
            raise FaultError(f"{origin}: {error}") from None

    @property
    def text(self) -> str:
        """Return the text that this is parsed from."""
        return f"{self.flow_id}={self.fault.text}"

    @property
    def is_pattern(self) -> bool:
        """Return whether this may be about many flows; then it is for those in which its fault is possible."""
        return bool(_SPECIAL & set(self.flow_id))

    def is_about(self, flow: Flow) -> bool:
        """Return whether this rule is about a flow."""
        if not self.is_pattern:
            return self.flow_id == flow.flow_id
        return fnmatch.fnmatchcase(flow.flow_id, self.flow_id) and self.fault.problem_in(flow) is None


def faults_of(rules: Iterable[Rule], flow: Flow) -> tuple[str, ...]:
    """Return the texts of a flow's faults: those that rules give it, else those of its own config."""
    given = tuple(dict.fromkeys(rule.fault.text for rule in rules if rule.is_about(flow)))
    return given or flow.faults


def problem_of(rules: Sequence[Rule], flows: Mapping[str, Flow], others: Collection[str] = ()) -> str | None:
    """Return what is wrong with rules for these flows in one line, or None; ``others`` are ids of broken flows."""
    return next((problem for rule in rules if (problem := _problem(rule, flows, others))), None)


def _problem(rule: Rule, flows: Mapping[str, Flow], others: Collection[str]) -> str | None:
    if rule.is_pattern:
        if any(rule.is_about(flow) for flow in flows.values()):
            return None
        matching = [flow for flow in flows.values() if fnmatch.fnmatchcase(flow.flow_id, rule.flow_id)]
        why = f"{rule.fault.name} is possible in none of them: " if matching else "no collected flow's id matches"
        more = rule.fault.problem_in(matching[0]) if matching else ""
        return f"{rule.origin}: {rule.text!r}: {why}{more}"
    if rule.flow_id in others:
        return None  # a broken flow says so itself
    flow = flows.get(rule.flow_id)
    if flow is not None:
        problem = rule.fault.problem_in(flow)
        return f"{rule.origin}: {rule.text!r}: {problem}" if problem else None
    meant = nearest(rule.flow_id, flows)
    question = f"; did you mean {meant!r}?" if meant else ""
    return f"{rule.origin}: {rule.text!r}: no collected flow is called {rule.flow_id!r}{question}"


def shared(faults: Mapping[str, Sequence[str]], flows: Mapping[str, Flow]) -> list[str]:
    """Return a line for every fault that reaches other flows too, since they share what it is in."""
    return [line for flow_id, texts in faults.items() for line in _shared_by(flows[flow_id], texts, faults, flows)]


def _shared_by(
    flow: Flow, texts: Sequence[str], faults: Mapping[str, Sequence[str]], flows: Mapping[str, Flow]
) -> Iterator[str]:
    for text in texts:
        fault = Fault.parse(text)
        side = fault.side_in(flow)
        if side is not None:
            location = flow.source if side == "source" else flow.target
            mates, what = _with_end(location, flows), f"it is at {location.uri()}, which they use"
        elif fault.kind.part == "function" and flow.transfer.mode == "invoke":
            mates = _with_call(flow, flows)
            what = f"they invoke {flow.transfer.lambda_arn} with the same payload"
        else:
            continue
        names = [mate for mate in mates if mate != flow.flow_id and text not in faults.get(mate, ())]
        if names:
            listed = ", ".join(names[:NAMED_AT_MOST])
            more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
            yield f"{flow.flow_id}: {text} reaches {listed}{more}, too: {what}"


def _with_end(location: Location, flows: Mapping[str, Flow]) -> list[str]:
    place = place_of(location)
    return [name for name, flow in flows.items() if place in (place_of(flow.source), place_of(flow.target))]


def _with_call(flow: Flow, flows: Mapping[str, Flow]) -> list[str]:
    def call(one: Flow) -> tuple[object, ...]:
        return one.transfer.mode, one.transfer.lambda_arn, one.transfer.payload

    return [name for name, other in flows.items() if call(other) == call(flow)]
