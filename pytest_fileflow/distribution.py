"""How flows are shared out under xdist: every worker knows its share from the start, and launches it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScheduling

from pytest_fileflow.collection import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

# Items a worker holds that it has not run: enough to keep it busy, few enough for -x to take effect.
QUEUED = 2


def share(ids: Sequence[str], workers: int, worker: int) -> list[int]:
    """Return the positions in ``ids`` of the flows that fall to a worker (0-based); the others fall to nobody.

    A pure function of its arguments, so that the controller and each worker agree without talking.
    """
    flows = [position for position, node_id in enumerate(ids) if is_flow(node_id)]
    return flows[worker::workers]


def is_flow(node_id: str) -> bool:
    """Return whether a node id is that of a flow: it lies in a JSON or YAML file."""
    return node_id.split("::", 1)[0].endswith(SUFFIXES)


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

    @property
    def tests_finished(self) -> bool:
        """Return whether every test was handed out and all but the last of each worker are done."""
        return bool(super().tests_finished) and not any(self._shares.values())

    @property
    def has_pending(self) -> bool:
        """Return whether there is anything left to run."""
        return bool(super().has_pending) or any(self._shares.values())

    def schedule(self) -> None:
        """Share out the flows, then start everybody."""
        if self.collection is not None or not self._check_nodes_have_same_collection():
            super().schedule()
            return
        collection = next(iter(self.node2collection.values()))
        nodes = sorted(self.nodes, key=_number)
        workers = len(nodes)
        # A worker knows its share by its number. One that replaces another, lost before it had
        # collected, has a number beyond: it gets a share that is left, and launches nothing ahead.
        left = [place for place in range(workers) if place not in map(_number, nodes)]
        places = {node: _number(node) if _number(node) < workers else left.pop() for node in nodes}
        self._shares = {node: share(collection, workers, place) for node, place in places.items()}
        if not any(self._shares.values()):
            super().schedule()
            return
        self.collection = collection
        self.pending[:] = [position for position, node_id in enumerate(collection) if not is_flow(node_id)]
        if self.maxschedchunk is None:
            self.maxschedchunk = len(collection)
        for node in nodes:
            self.check_schedule(node)

    def check_schedule(self, node: WorkerController, duration: float = 0) -> None:
        """Hand a worker its own flows first, a few at a time."""
        own = self._shares.get(node, [])
        if own and not node.shutting_down:
            number = max(0, QUEUED + 1 - len(self.node2pending[node]))
            batch = own[:number]
            del own[:number]
            self.node2pending[node].extend(batch)
            node.send_runtest_some(batch)
        if not own:  # a worker starts a test only once it knows the next one, or that there is none
            super().check_schedule(node, duration)

    def remove_node(self, node: WorkerController) -> str | None:
        """Give what a worker leaves behind to the others; return the test it crashed in, if it did."""
        self.pending.extend(self._shares.pop(node, ()))
        crashed: str | None = super().remove_node(node)
        return crashed


def _number(node: WorkerController) -> int:
    return int(node.gateway.id.removeprefix("gw"))
