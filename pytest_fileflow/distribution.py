"""How flows are shared out under xdist: every worker knows its share from the start, and launches it at once."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScheduling

from pytest_fileflow.claims import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

ALL = "all"
Part = int | str | list[str]
"""What a worker launches ahead: its place among the workers, all there is, or what another left."""

# Items a worker holds that it has not run: enough to keep it busy, few enough for -x to take effect.
QUEUED = 2


def shares(ids: Sequence[str], workers: int) -> list[list[int]]:
    """Return, for each worker, the positions in ``ids`` of the flows that fall to it; the others fall to nobody.

    All cases of a flow fall to one worker, since its transfers wait for its contract: each flow, in
    turn, to the worker with the fewest cases so far. A pure function of its arguments, so that the
    controller and each worker agree without talking.
    """
    flows: dict[str, list[int]] = {}
    for position, node_id in enumerate(ids):
        if is_flow(node_id):
            flows.setdefault(flow_of(node_id), []).append(position)
    least = [(0, worker) for worker in range(workers)]  # a heap
    own: list[list[int]] = [[] for _ in range(workers)]
    for positions in flows.values():
        number, worker = least[0]
        own[worker] += positions
        heapq.heapreplace(least, (number + len(positions), worker))
    return [sorted(positions) for positions in own]


def assigned(ids: Sequence[str], workers: int, part: Part) -> Sequence[int]:
    """Return the positions of what a worker will surely be asked for, as the controller's word says."""
    if part == ALL:
        return range(len(ids))
    if isinstance(part, int):
        return shares(ids, workers)[part]
    wanted = frozenset(part)
    return [position for position, node_id in enumerate(ids) if node_id in wanted]


def is_flow(node_id: str) -> bool:
    """Return whether a node id is that of a flow: it lies in a JSON or YAML file, or in a table."""
    return node_id.split("::", 1)[0].endswith(SUFFIXES) or node_id.startswith("dynamodb://")


def flow_of(node_id: str) -> str:
    """Return what the node ids of a flow's cases have in common: all but what stands in the brackets."""
    file, colons, name = node_id.partition("::")
    return f"{file}{colons}{name.partition('[')[0]}"


class ShareScheduling(LoadScheduling):  # type: ignore[misc]
    """xdist's load distribution, but flows go to the worker that has launched them.

    Built on the scheduler interface of pytest-xdist 3.6 and later. Other tests, and the flows of a
    worker that crashed, go to whoever is free.
    """

    collection: list[str] | None
    maxschedchunk: int | None

    def __init__(self, config: Any, log: Any = None):
        super().__init__(config, log)
        self._shares: dict[WorkerController, list[int]] = {}
        self._reserved: dict[str, list[int]] = {}  # for workers that are to replace others, by their ids
        self._left: deque[list[int]] = deque()
        self._places = {f"gw{place}": place for place in range(self.numnodes)}
        self._free_places: list[int] = []

    @property
    def tests_finished(self) -> bool:
        """Return whether every test was handed out and all but the last of each worker are done."""
        return bool(super().tests_finished) and not self._has_shares()

    @property
    def has_pending(self) -> bool:
        """Return whether there is anything left to run."""
        return bool(super().has_pending) or self._has_shares()

    def _has_shares(self) -> bool:
        return any(self._shares.values()) or any(self._reserved.values()) or any(self._left)

    def part_of_replacement(self, worker: str) -> Part:
        """Return what falls to a worker that is about to replace one that was lost."""
        if self.collection is None:  # lost before it had collected: its place is free
            self._places[worker] = self._free_places.pop()
            return self._places[worker]
        left = self._reserved[worker] = self._left.popleft() if self._left else []
        return [self.collection[position] for position in left]

    def schedule(self) -> None:
        """Share out the flows, then start everybody."""
        if self.collection is not None:
            for node in self.nodes:
                self._shares.setdefault(node, self._reserved.pop(node.gateway.id, []))
        if self.collection is not None or not self._check_nodes_have_same_collection():
            super().schedule()
            return
        collection = next(iter(self.node2collection.values()))
        nodes = sorted(self.nodes, key=lambda node: self._places[node.gateway.id])
        all_shares = shares(collection, self.numnodes)
        self._shares = {node: all_shares[self._places[node.gateway.id]] for node in nodes}
        if not any(self._shares.values()):
            super().schedule()
            return
        self._keep_for_latecomers(all_shares)
        self.collection = collection
        self.pending[:] = [position for position, node_id in enumerate(collection) if not is_flow(node_id)]
        if self.maxschedchunk is None:
            self.maxschedchunk = len(collection)
        for node in nodes:
            self.check_schedule(node)

    def _keep_for_latecomers(self, all_shares: list[list[int]]) -> None:
        """Put aside the shares of workers that have yet to start, as others were lost after they had collected."""
        here = {node.gateway.id for node in self.nodes}
        for worker, place in self._places.items():
            if worker not in here:
                self._reserved[worker] = all_shares[place]
        self._left.extend(all_shares[place] for place in self._free_places)

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Hand a worker its own flows first, a few at a time."""
        if node.gateway.id in self._reserved:  # it has yet to collect, and is not to be sent away before
            return
        own = self._shares.get(node, [])
        if own and not node.shutting_down:
            batch_size = max(0, QUEUED + 1 - len(self.node2pending[node]))
            batch = own[:batch_size]
            del own[:batch_size]
            self.node2pending[node].extend(batch)
            node.send_runtest_some(batch)
        if not own:  # a worker starts a test only once it knows the next one, or that there is none
            super().check_schedule(node, duration)

    def remove_node(self, node: WorkerController) -> str | None:
        """Keep what a worker leaves behind for the one that replaces it; return the test it crashed in, if it did."""
        if self.collection is None:
            self._free_places.append(self._places.pop(node.gateway.id))
        else:
            handed_out = self.node2pending.get(node, [])
            flows = [position for position in handed_out[1:] if is_flow(self.collection[position])]
            handed_out[1:] = [position for position in handed_out[1:] if position not in flows]
            own = self._shares.pop(node, None) or self._reserved.pop(node.gateway.id, [])
            self._left.extend([[*flows, *own]] if flows or own else ())
        crashed: str | None = super().remove_node(node)
        return crashed


def number(node: WorkerController) -> int:
    """Return the number in a worker's id: those that the session begins with count from 0."""
    return int(node.gateway.id.removeprefix("gw"))
