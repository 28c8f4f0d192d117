"""What travels between the steps of a run: the case, the run as far as it has come, and which step comes next."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_fileflow.arrival import Arrived, Decision, GaveUp, Oversize
from pytest_fileflow.model import Case, CheckResult, Latency, Run
from pytest_fileflow.portable import dump, load_case, load_run, load_stat
from pytest_fileflow.results.words import cut, encodable, plain_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_BYTES: Final = 32 * 1024
"""What a state may have: AWS allows 256 KiB, of which the state machine's own words and a list of states want some."""

LETTERS: Final = (4000, 1000, 250, 60)
"""To which length the texts of the evidence are cut, one after the other, until a state is small enough."""

HALF_CHARACTERS: Final = "utf-8+surrogates:"
"""What a text begins with that is handed on as hex, since it holds half a character, as file names of old do."""

Next = Literal["prepare", "seed", "trigger", "wait", "verify", "ask", "diagnose", "clean_up", "record"]

_DECISIONS: Final[Mapping[str, type[Decision]]] = {"arrived": Arrived, "oversize": Oversize, "gave_up": GaveUp}


@dataclass(frozen=True)
class Execution:
    """The execution of the state machine that a run is part of; ``allow`` are lists of patterns of what it may touch.

    ``contracts``: whether it carries out those of its flows, for which transfers wait. ``started`` is a UTC stamp.
    The id is unique only together with it: names may be used again after 90 days.
    """

    id: str
    name: str
    started: str
    allow: tuple[tuple[str, ...], ...] = ()
    contracts: bool = False

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Execution:
        """Return the execution of its JSON form."""
        allow = tuple(map(tuple, told.get("allow", ())))
        return cls(told["id"], told["name"], told["started"], allow, told.get("contracts", False))


@dataclass(frozen=True)
class State:
    """A run on its way from one step to the next.

    ``looks`` are those at the target so far, ``decision`` is what they came to, and ``network_errors`` how many
    in a row went wrong. ``error`` is what the state machine says of a step that ended without an answer. ``stopped``
    is how another execution ended that had begun this run, of which nothing is left but to clean up after it.
    ``held`` is how often the run was kept back, since its flow's contract was not done yet.
    ``doubt`` is why perhaps nobody has started the transfer: then it is not to blame for what does not come.
    """

    case: Case
    execution: Execution
    next: Next = "prepare"
    run: Run | None = None
    attempt: int = 1
    looks: Mapping[str, Any] | None = None
    stopped: str = ""
    decision: Decision | None = None
    network_errors: int = 0
    wait_seconds: int = 0
    error: Mapping[str, str] | None = None
    doubt: str = ""
    held: int = 0

    @property
    def run_id(self) -> str:
        """Return the id of the run: the same for a step that is tried again, and for no other run."""
        if self.run is not None:
            return self.run.run_id
        execution, case = self.execution, self.case
        text = "\n".join((execution.id, execution.started, case.flow.flow_id, case.label, str(self.attempt)))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @classmethod
    def load(cls, told: Mapping[str, Any]) -> State:
        """Return the state of its JSON form; raises what ``portable`` does for anything else."""
        told = _taken(told)
        told = {**told, **told["case"].get("unsettled", {})}
        parts = {
            "case": load_case(told["case"]),
            "execution": Execution.parse(told["execution"]),
            "run": load_run(told["run"]) if told.get("run") else None,
            "decision": _decision(told["decision"]) if told.get("decision") else None,
        }
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{**{name: value for name, value in told.items() if name in known}, **parts})

    def dump(self) -> dict[str, Any]:
        """Return the JSON form, in no more bytes than a state may have; where it must, what was said gives way."""
        told = self._dump(self.run)
        for smaller in _with_less(self.run) if size_of(told) > MOST_BYTES else ():
            told = self._dump(smaller)
            if size_of(told) <= MOST_BYTES:
                break
        return told

    def _dump(self, run: Run | None) -> dict[str, Any]:
        told = dump(dataclasses.replace(self, run=run, decision=None))
        # Of a choice, the state machine says what is missing as an error of its own.
        told |= {"next": self.next, "wait_seconds": self.wait_seconds}
        if self.decision is not None:
            kind = next(name for name, type_ in _DECISIONS.items() if isinstance(self.decision, type_))
            told["decision"] = {**dump(self.decision), "kind": kind}
        handed: dict[str, Any] = handed_on(plain_json(told))
        return handed


def size_of(told: object) -> int:
    """Return how many bytes a JSON value takes between two steps."""
    return len(json.dumps(told, ensure_ascii=False).encode())


def handed_on(value: Any) -> Any:
    """Return a JSON value as it can be handed on: in UTF-8, which has no half characters, and without NaN."""
    if isinstance(value, str):
        if not value.startswith(HALF_CHARACTERS) and encodable(value) == value:
            return value
        return HALF_CHARACTERS + value.encode("utf-8", "surrogatepass").hex()
    if isinstance(value, Mapping):
        return {handed_on(name): handed_on(item) for name, item in value.items()}
    if isinstance(value, list):
        return [handed_on(item) for item in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _taken(value: Any) -> Any:
    """Return a JSON value as it was before it was handed on."""
    if isinstance(value, str):
        if not value.startswith(HALF_CHARACTERS):
            return value
        return bytes.fromhex(value.removeprefix(HALF_CHARACTERS)).decode("utf-8", "surrogatepass")
    if isinstance(value, Mapping):
        return {_taken(name): _taken(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_taken(item) for item in value]
    return value


def _decision(told: Mapping[str, Any]) -> Decision:
    fields = {name: value for name, value in told.items() if name != "kind"}
    if "stat" in fields:
        fields["stat"] = load_stat(fields["stat"])
    if "latency" in fields:
        fields["latency"] = Latency(**fields["latency"])
    return _DECISIONS[told["kind"]](**fields)


def _with_less(run: Run | None) -> Iterator[Run]:
    """Yield a run with ever shorter evidence, and at last with none."""
    if run is None:
        return
    for letters in LETTERS:
        yield _cut(run, letters, partial(_shortened, letters=letters))
    note = "left out: it is too large to be handed from step to step"
    yield _cut(run, LETTERS[-1], lambda evidence: {"evidence": note} if evidence else {})


def _cut(run: Run, letters: int, shorten: Callable[[Any], Any]) -> Run:
    """Return a run whose words are shorter, and which knows no more copies than items of a list stay."""
    verdict, kept, evidence = run.verdict, _items(letters), shorten(run.evidence)
    left = max(0, len(run.strays) - kept)
    if verdict is not None:
        reason = None if verdict.reason is None else cut(verdict.reason, LETTERS[1])
        left += max(0, len(verdict.strays) - kept)
        verdict = dataclasses.replace(
            verdict, evidence=shorten(verdict.evidence), reason=reason, strays=verdict.strays[:kept]
        )
    if left:
        evidence = {**evidence, "copies": f"{left} more than can be handed from step to step: these may stay"}
    return dataclasses.replace(
        run,
        evidence=evidence,
        verdict=verdict,
        strays=run.strays[:kept],
        residue=tuple(_shortened(run.residue, letters)),
        checks=tuple(
            CheckResult(each.name, each.passed, cut(str(each.expected), letters), cut(str(each.observed), letters))
            for each in run.checks
        ),
    )


def _items(letters: int) -> int:
    """Return how many items of a list stay where texts have so many letters."""
    return max(1, letters // 10)


def _shortened(value: Any, letters: int) -> Any:
    """Return a JSON value with shorter texts and lists."""
    if isinstance(value, str):
        return cut(value, letters)
    if isinstance(value, Mapping):
        return {name: _shortened(item, letters) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        kept = [_shortened(item, letters) for item in value[: _items(letters)]]
        more = len(value) - len(kept)
        return [*kept, f"… and {more} more"] if more else kept
    return value
