"""How the reference transfer carries a file over, and everything that it can be told to do wrong."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

from pytest_fileflow.model import sidecar_names
from pytest_fileflow.sandbox import damage
from pytest_fileflow.sandbox.ends import TransferError, wait_for_ever
from pytest_fileflow.sandbox.reshaping import new_name, reshaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.sandbox.ends import End

ELSEWHERE = "misplaced"
_NEARLY = 4  # of a size that differs by less than a quarter
MANIFEST = ".manifest.json"
AS_SENT: Mapping[str, Any] = MappingProxyType({"unwraps": (), "adds": (), "name": None})
"""The work of a transfer that only moves files."""


class FunctionFault(Exception):
    """The error that a function raises because it was told to."""


class Delivery:
    """One file on its way from end to end, as a job says.

    ``park`` says that this invocation will wait, with its time limit in seconds or None.
    """

    def __init__(
        self,
        ends: tuple[End, End],
        job: Mapping[str, Any],
        sidecars: Mapping[str, bytes],
        park: Callable[[float | None], None],
    ) -> None:
        self._source, self._target = ends
        self._name = str(job["name"])
        self._sidecars, self._job, self._park = sidecars, job, park
        self._faults = {str(fault["name"]): fault["amount"] for fault in job["faults"]}
        self._work = AS_SENT if "as_sent" in self._faults else job["work"]
        self._opened = self._source.open(self._name)
        self.size = self._opened[1] if self._opened else None

    def carry_out(self) -> bool:
        """Deliver the file, as its faults say; return whether anything was delivered."""
        try:
            return self._carry_out()
        finally:
            if self._opened is not None:
                self._opened[0].close()

    def _carry_out(self) -> bool:
        self._function_faults()
        if "drop" in self._faults:
            return False
        if "lose" in self._faults:
            for name in (self._name, *(self._beside(side) for side in self._sidecars)):
                self._source.remove(name)
            return False
        self._wait()
        target = self._target.elsewhere(ELSEWHERE) if "misplace" in self._faults else self._target
        for side, content in self._sidecars_to_send().items():
            target.write(self._beside(side), io.BytesIO(content), len(content))
        arrives = new_name(self._work, self._name, self._sidecars.get(MANIFEST), str(self._job["flow_id"]))
        name = f"renamed_{arrives}" if "rename" in self._faults else arrives
        if "duplicate" in self._faults:
            self._write(target, copy_name(name))  # first: once the file itself is there, it may be judged
        self._write(target, name)
        return True

    def _function_faults(self) -> None:
        if "function_error" in self._faults:
            raise FunctionFault("the sandbox was told to let this function fail (function_error)")
        if "crash" in self._faults:
            os.kill(os.getpid(), signal.SIGKILL)
        if "timeout" in self._faults:
            self._park(self._faults["timeout"])
            wait_for_ever()

    def _wait(self) -> None:
        due = float(self._job["asked"]) + float(self._faults.get("delay") or 0)
        if due > time.time():
            self._park(None)
            time.sleep(max(0.0, due - time.time()))

    def _beside(self, side: str) -> str:
        """Return the name of a sidecar by its ending."""
        return next(name for name in sidecar_names(self._name) if name.endswith(side))

    def _sidecars_to_send(self) -> Mapping[str, bytes]:
        if "bare" in self._faults:
            return {}
        if "stale" not in self._faults:
            return self._sidecars
        earlier = self._earlier()["sidecars"]
        return {side: earlier[side].encode() for side in self._sidecars if side in earlier}

    def _write(self, target: End, name: str) -> None:
        body, size = self._content()
        with body:
            writer = next((fault for fault in ("slow_writer", "stalled_writer") if fault in self._faults), None)
            if writer is None:
                target.write(name, body, size)
                return
            self._park(None)
            target.grow(name, body, (self.size or 0) if size is None else size, self._faults[writer])

    def _content(self) -> tuple[BinaryIO, int | None]:
        """Return the bytes to deliver, freshly opened, and their number where it is known."""
        opened, self._opened = self._opened or self._source.open(self._name), None
        if opened is None:
            raise TransferError(f"{self._source.uri(self._name)} is gone")
        body, known = opened
        if "stale" in self._faults:
            body.close()
            earlier = self._earlier()
            body, known = Path(earlier["path"]).open("rb"), int(earlier["size"])  # noqa: SIM115 - closed by whoever reads it
        size: int | None
        body, size = reshaped(self._work, body, known, self._name)
        for fault, amount in self._faults.items():
            if fault in damage.NAMES:
                if size is None:
                    raise TransferError(f"{fault} cannot follow a fault after which nobody knows the size")
                body, size = damage.damaged(SimpleNamespace(name=fault, amount=amount), body, size)
        return body, size

    def _earlier(self) -> Mapping[str, Any]:
        """Return the file of an earlier run that has this one's size, or nearly: what is packed differs a little."""
        size = self.size or 0
        found = min(self._job["earlier"], key=lambda file: abs(int(file["size"]) - size), default=None)
        if found is None or abs(int(found["size"]) - size) > size // _NEARLY:
            raise TransferError(f"no earlier run of {size} bytes is known whose file could be delivered again")
        return dict(found)


def copy_name(name: str) -> str:
    """Return the name of a second copy of a file.

    >>> copy_name("orders.csv")
    'orders (1).csv'
    """
    path = PurePosixPath(name)
    return f"{path.stem} (1){path.suffix}"
