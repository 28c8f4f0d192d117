"""Knows which file is to be moved by which function, and hands each out exactly once.

A route is a flow as its transfer sees it. Whoever stores files (S3, the SFTP servers) reports
what appeared where; a function that runs asks, file by file, for what is waiting. A file is
handed to one caller at a time; it waits again when that caller fails or dies.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_fileflow.model import S3Location, SftpLocation
from pytest_fileflow.sandbox.asked import file_in
from pytest_fileflow.sandbox.places import named_files, place_of
from pytest_fileflow.sandbox.switches import Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_fileflow.model import Location
    from pytest_fileflow.sandbox.places import Place

IMPLIED_FUNCTION = "fileflow-transfer"
"""The function of flows that start by themselves and name none."""

SIDECARS = (".sha256", ".manifest.json")
_TELLING = 8  # characters of a text in a payload from which on it may be a name or a run id
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")

Outcome = Literal["moved", "failed", "foreign", "gone", "dropped"]


def function_name(lambda_arn: str) -> str:
    """Return the bare name in a function's ARN, partial ARN or name, without alias or version.

    >>> function_name("arn:aws:lambda:...:function:file-transfer:live")
    'file-transfer'
    """
    _, _, rest = lambda_arn.rpartition(":function:")
    return rest.split(":", 1)[0]


def is_data(name: str) -> bool:
    """Tell a data file from sidecars, hidden files and uploads that are still under way."""
    return bool(name) and not name.startswith(".") and not name.endswith((*SIDECARS, ".part"))


@functools.lru_cache(maxsize=4096)
def name_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern of a templated name; what stands for ``${file.name}`` is the group ``file``."""
    parts = _PLACEHOLDER.split(template)
    expression, named = "", False
    for index, part in enumerate(parts):
        if index % 2 == 0:
            expression += re.escape(part)
        elif part.strip() == "file.name" and not named:
            expression, named = f"{expression}(?P<file>.+)", True
        else:
            expression += ".*"
    return re.compile(expression, re.DOTALL)


def matches(template: object, value: object, *, more: bool = False) -> bool:
    """Tell whether a payload may have been made from a template.

    Strings with ``${…}`` match anything in the placeholder's place. With ``more``, the value's
    objects may hold further keys.
    """
    if isinstance(template, str) and "${" in template:
        return not isinstance(value, str) or name_pattern(template).fullmatch(value) is not None
    if isinstance(template, dict) and isinstance(value, dict):
        same_keys = template.keys() <= value.keys() if more else template.keys() == value.keys()
        return same_keys and all(matches(part, value[key], more=more) for key, part in template.items())
    if isinstance(template, list) and isinstance(value, list):
        pairs = zip(template, value, strict=False)
        return len(template) == len(value) and all(matches(one, other, more=more) for one, other in pairs)
    return type(template) is type(value) and template == value


@dataclass(frozen=True)
class Route:
    """A flow as its transfer sees it; ``trigger`` is the pattern of its trigger files' names.

    ``probe`` is a further payload that the function knows, about a file by name; ``refuses`` one that
    means nothing to it. ``work`` is what the transfer does to a file, as JSON.
    """

    flow_id: str
    function: str
    mode: str
    payload: object
    source: Location
    target: Location
    timeout_seconds: float
    trigger: re.Pattern[str] | None = None
    probe: object = None
    refuses: object = None
    work: object = None

    @property
    def place(self) -> Place:
        """Return the folder that the transfer takes files from."""
        return place_of(self.source)

    @property
    def target_place(self) -> Place:
        """Return the folder that the transfer delivers to."""
        return place_of(self.target)

    @classmethod
    def parse(cls, spec: Mapping[str, object]) -> Route:
        """Build a route from the plain form of a flow."""
        arn, mode = spec["lambda_arn"], str(spec["mode"])
        timeout = spec["timeout_seconds"]
        return cls(
            flow_id=str(spec["flow_id"]),
            function=function_name(str(arn)) if arn else IMPLIED_FUNCTION,
            mode=mode,
            payload=spec["payload"],
            source=_location(spec["source"]),
            target=_location(spec["target"]),
            timeout_seconds=min(float(timeout), 900.0) if isinstance(timeout, (int, float)) else 900.0,
            trigger=name_pattern(str(spec["trigger_name"])) if mode == "trigger_file" else None,
            probe=spec.get("probe"),
            refuses=spec.get("refuses"),
            work=spec.get("work"),
        )


def _location(spec: object) -> Location:
    if not isinstance(spec, dict):
        raise TypeError(f"a location is an object, not {type(spec).__name__}")
    fields = {key: value for key, value in spec.items() if key != "type"}
    return S3Location(**fields) if spec["type"] == S3Location.type else SftpLocation(**fields)


@dataclass(frozen=True)
class Claim:
    """A file that one invocation has been told to move."""

    claim_id: str
    request_id: str
    route: Route
    name: str


@dataclass
class _Lane:
    """A route and the names that wait on it, oldest first; the numbers tell one upload from the next."""

    route: Route
    waiting: dict[str, int] = field(default_factory=dict)


class Routes:
    """Every route with what waits on it. All methods may be called from any thread."""

    def __init__(self, switches: Switches | None = None) -> None:
        self._switches = switches or Switches()
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._by_place: dict[Place, list[_Lane]] = {}
        self._by_function: dict[str, list[_Lane]] = {}
        self._fixed: dict[tuple[str, str], list[_Lane]] = {}
        self._templated: dict[str, list[_Lane]] = {}
        self._owners: dict[tuple[Place, str], str] = {}
        self._claims: dict[str, Claim] = {}
        self._numbers = itertools.count(1)

    def add(self, routes: Iterable[Route], present: Callable[[Place], Iterable[str]]) -> None:
        """Add or replace routes; ``present`` lists the names that already lie in a folder."""
        fresh = {route.flow_id: route for route in routes if not self._known(route)}
        found = {place: list(present(place)) for place in {route.place for route in fresh.values()}}
        with self._lock:
            for route in fresh.values():
                self._replace(route)
            for route in fresh.values():
                lane = self._lanes[route.flow_id]
                for name in found[route.place]:
                    if not self._triggered(route.place, name):
                        self._wait(lane, name)

    def timeouts(self) -> dict[str, float]:
        """Return each function's timeout: the longest that a flow of it asks for, in seconds."""
        with self._lock:
            return {
                name: max(lane.route.timeout_seconds for lane in lanes)
                for name, lanes in self._by_function.items()
                if lanes
            }

    def appeared(self, place: Place, name: str) -> list[str]:
        """Note that a whole file has appeared; return the functions that this starts."""
        with self._lock:
            triggered = self._triggered(place, name)
            if triggered or not is_data(name):
                return sorted({lane.route.function for lane in triggered})
            self._owners.pop((place, name), None)
            lanes = self._by_place.get(place, ())
            for lane in lanes:
                self._wait(lane, name)
            return sorted({lane.route.function for lane in lanes if lane.route.mode == "event"})

    def claim(
        self, function: str, event: object, request_id: str, skip: Iterable[str] = ()
    ) -> tuple[Claim | None, bool]:
        """Hand out one waiting file of what an event asks for.

        ``skip`` lists the ``<flow_id>/<name>`` that the caller has failed at already. The second
        value tells whether the event asks for any flow of this function at all.
        """
        skipped = set(skip)
        with self._lock:
            wanted = self._wanted(function, event)
            # What goes wrong in one flow must not keep the files of others from being moved first.
            wanted.sort(key=lambda pair: self._switches.is_faulty(pair[0].route.flow_id))
            for lane, only in wanted:
                for name in (only,) if only is not None else tuple(lane.waiting):
                    if name in lane.waiting and f"{lane.route.flow_id}/{name}" not in skipped:
                        return self._take(lane, name, request_id), True
            return None, bool(wanted)

    def flows_meant(self, function: str, event: object) -> list[str]:
        """Return the flows that an event asks for, narrowed to those whose files it names, where it does."""
        with self._lock:
            return [lane.route.flow_id for lane, _ in self._wanted(function, event)]

    def asked_for(self, function: str, event: object) -> list[tuple[Route, str]]:
        """Return the files that an invocation asks for by name, with their routes; a notification does not ask."""
        if named_files(event):
            return []
        with self._lock:
            return [(lane.route, name) for lane, name in self._wanted(function, event) if name is not None]

    def settle(self, claim_id: str, outcome: Outcome, owner: str | None = None) -> None:
        """Note what became of a claimed file; ``owner`` is the flow that its manifest names."""
        with self._lock:
            claim = self._claims.pop(claim_id, None)
            if claim is None:
                return
            if owner is not None:
                self._belongs(claim.route.place, claim.name, owner)
            if outcome == "failed":
                self._give_back(claim)

    def release(self, request_id: str) -> None:
        """Let the files wait again that an ended invocation has not settled."""
        with self._lock:
            for claim in [claim for claim in self._claims.values() if claim.request_id == request_id]:
                del self._claims[claim.claim_id]
                self._give_back(claim)

    def _known(self, route: Route) -> bool:
        with self._lock:
            lane = self._lanes.get(route.flow_id)
            return lane is not None and lane.route == route

    def _replace(self, route: Route) -> None:
        old = self._lanes.pop(route.flow_id, None)
        if old is not None:
            for lanes in self._indexes(old.route):
                lanes.remove(old)
        lane = self._lanes[route.flow_id] = _Lane(route)
        for lanes in self._indexes(route):
            lanes.append(lane)

    def _indexes(self, route: Route) -> tuple[list[_Lane], ...]:
        text = _canonical(route.payload)
        return (
            self._by_place.setdefault(route.place, []),
            self._by_function.setdefault(route.function, []),
            self._templated.setdefault(route.function, [])
            if "${" in text
            else self._fixed.setdefault((route.function, text), []),
        )

    def _wait(self, lane: _Lane, name: str) -> None:
        owner = self._owners.get((lane.route.place, name))
        if is_data(name) and owner in (None, lane.route.flow_id):
            lane.waiting[name] = next(self._numbers)

    def _take(self, lane: _Lane, name: str, request_id: str) -> Claim:
        claim = Claim(f"{lane.waiting.pop(name)}.{next(self._numbers)}", request_id, lane.route, name)
        self._claims[claim.claim_id] = claim
        return claim

    def _give_back(self, claim: Claim) -> None:
        lane = self._lanes.get(claim.route.flow_id)
        if lane is not None and lane.route == claim.route:
            lane.waiting.setdefault(claim.name, next(self._numbers))

    def _belongs(self, place: Place, name: str, owner: str) -> None:
        self._owners[place, name] = owner
        for lane in self._by_place.get(place, ()):
            if lane.route.flow_id != owner:
                lane.waiting.pop(name, None)

    def _triggered(self, place: Place, name: str) -> list[_Lane]:
        lanes = self._by_place.get(place, ())
        return [lane for lane in lanes if lane.route.trigger and lane.route.trigger.fullmatch(name)]

    def _wanted(self, function: str, event: object) -> list[tuple[_Lane, str | None]]:
        """Return the lanes that an event asks for, each with the one name it is about, if it is."""
        named = [pair for place, name in named_files(event) for pair in self._named(function, place, name)]
        asked = self._meant(self._addressed(function, event), event)
        return named or [(lane, _asked_for(lane.route, event)) for lane in asked]

    def _meant(self, lanes: list[_Lane], event: object) -> list[_Lane]:
        """Leave out flows with faults where an event speaks of the files of other flows only.

        Templated payloads of several flows may look alike; what was put in, a name or a run id, does not.
        """
        faulty = [lane for lane in lanes if self._switches.is_faulty(lane.route.flow_id)]
        if not faulty or len(lanes) == 1:
            return lanes
        words = [word for word in _words(event) if len(word) >= _TELLING]
        named = [lane for lane in lanes if any(word in name or name in word for name in lane.waiting for word in words)]
        return [lane for lane in lanes if lane in named or lane not in faulty or not named]

    def _addressed(self, function: str, event: object) -> list[_Lane]:
        """Return the lanes whose payload this may be; most payloads are fixed, and found by their text."""
        exact = [
            *self._fixed.get((function, _canonical(event)), ()),
            *(lane for lane in self._templated.get(function, ()) if matches(lane.route.payload, event)),
        ]
        lanes = self._by_function.get(function, [])
        probed = [lane for lane in lanes if _is_of(lane.route.probe, event)]
        if exact or probed or any(_is_of(lane.route.refuses, event) for lane in lanes):
            return probed or exact
        return [lane for lane in lanes if matches(lane.route.payload, event, more=True)]

    def _named(self, function: str, place: Place, name: str) -> list[tuple[_Lane, str | None]]:
        triggered = self._triggered(place, name)
        wanted: list[tuple[_Lane, str | None]] = []
        for lane in self._by_place.get(place, ()):
            if lane.route.function != function:
                continue
            if lane in triggered:
                wanted.append((lane, _subject(lane.route, name)))
            elif lane.route.mode == "event" and not triggered:
                wanted.append((lane, name))
        return wanted


def _words(value: object) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [word for part in value for word in _words(part)]
    return [value] if isinstance(value, str) else []


def _is_of(template: object, event: object) -> bool:
    return template is not None and matches(template, event)


def _asked_for(route: Route, event: object) -> str | None:
    """Return the name of the one file that an invocation is about, if it is."""
    return file_in(route.probe if _is_of(route.probe, event) else route.payload, event)


def _subject(route: Route, trigger_file: str) -> str | None:
    match = route.trigger.fullmatch(trigger_file) if route.trigger else None
    return match.groupdict().get("file") if match else None


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)
