"""Which faults are switched on: by flow for transfers and functions, by place for the ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_fileflow.model import Side
    from pytest_fileflow.sandbox.places import Place
    from pytest_fileflow.sandbox.routes import Route

BY_SERVICE = "throttle"
"""The fault of a function that its service has, before anything runs."""


@dataclass(frozen=True)
class Switch:
    """One fault that is on: at an end where ``side`` says so, else in the transfer or its function."""

    name: str
    side: Side | None
    amount: float | None

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Switch:
        """Read the plain form."""
        return cls(spec["name"], spec["side"], spec["amount"])


class Switches:
    """The faults of all flows. Methods may be called from any thread; each flow's last word counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_flow: dict[str, tuple[Switch, ...]] = {}
        self._by_place: dict[Place, dict[str, tuple[Switch, ...]]] = {}
        self._earlier: dict[tuple[str, int], dict[str, object]] = {}

    def set(self, route: Route, faults: Iterable[Switch], earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        """Replace a flow's faults; add files of earlier runs, one a size, that it may deliver as stale."""
        faults, flow_id = tuple(faults), route.flow_id
        ends: dict[Side, Place] = {"source": route.place, "target": route.target_place}
        with self._lock:
            for place in self._by_place.values():
                place.pop(flow_id, None)
            self._by_flow[flow_id] = faults
            for side, place_of_side in ends.items():
                at_end = tuple(fault for fault in faults if fault.side == side)
                if at_end:
                    self._by_place.setdefault(place_of_side, {})[flow_id] = at_end
            self._by_place = {place: flows for place, flows in self._by_place.items() if flows}
            for file in earlier:
                self._earlier.setdefault((flow_id, int(file["size"])), dict(file))

    def at(self, place: Place) -> tuple[Switch, ...]:
        """Return the faults of an end: all that any flow has switched on there."""
        flows = self._by_place.get(place)
        return tuple(fault for faults in flows.values() for fault in faults) if flows else ()

    def at_side(self, flow_id: str, side: Side) -> bool:
        """Return whether a flow has any fault at one of its ends."""
        return any(fault.side == side for fault in self._by_flow.get(flow_id, ()))

    @property
    def has_places(self) -> bool:
        """Return whether any end has faults."""
        return bool(self._by_place)

    def places(self) -> list[Place]:
        """Return all ends with faults."""
        return list(self._by_place)

    def of_transfer(self, flow_id: str) -> list[dict[str, object]]:
        """Return what the transfer of a flow does wrong, as plain values."""
        return [
            {"name": fault.name, "amount": fault.amount}
            for fault in self._by_flow.get(flow_id, ())
            if fault.side is None and fault.name != BY_SERVICE
        ]

    def is_faulty(self, flow_id: str) -> bool:
        """Return whether the transfer of a flow does anything wrong."""
        return any(fault.side is None for fault in self._by_flow.get(flow_id, ()))

    def is_throttled(self, flow_id: str) -> bool:
        """Return whether the function of a flow is throttled."""
        return any(fault.name == BY_SERVICE for fault in self._by_flow.get(flow_id, ()))

    def earlier(self, flow_id: str) -> list[dict[str, object]]:
        """Return the files of earlier runs of a flow."""
        return [file for (of_flow, _), file in list(self._earlier.items()) if of_flow == flow_id]
