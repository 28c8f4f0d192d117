"""Counts the requests that AWS clients send, tries again included."""

from __future__ import annotations

import itertools
from typing import Any


class Counted:
    """``with Counted(client) as counted:`` counts what the clients send meanwhile, whichever thread asks."""

    def __init__(self, *clients: Any):
        self._clients = clients
        self._numbers = itertools.count(1)
        self.requests = 0

    def __enter__(self) -> Counted:
        for client in self._clients:
            client.meta.events.register("before-send", self._count)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.meta.events.unregister("before-send", self._count)

    def _count(self, **_: object) -> None:
        self.requests = next(self._numbers)
