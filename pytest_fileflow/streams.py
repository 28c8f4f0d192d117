"""The bytes of a run: as they should be, made again from its run id, and as they lie at an endpoint."""

from __future__ import annotations

import dataclasses
import io
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from pytest_fileflow import payload, seeds
from pytest_fileflow.allow import AllowList
from pytest_fileflow.checks.chain import no_credentials
from pytest_fileflow.due import name_due
from pytest_fileflow.errors import Interrupted, NetworkError
from pytest_fileflow.listings import Listings
from pytest_fileflow.model import SIDECAR_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from _typeshed import WriteableBuffer

    from pytest_fileflow.clock import Clock
    from pytest_fileflow.due import Due
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.invoke import Started
    from pytest_fileflow.logs import FunctionLog
    from pytest_fileflow.model import Flow, Location, Recipe, Run, Stat, Transfer
    from pytest_fileflow.payload import Pattern
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.secret import Credentials

logger = logging.getLogger(__name__)

LISTING_LIMIT = 5000  # names of a folder that are looked through for one that is not known in full
READ_ATTEMPTS = 3  # a read that breaks in the middle goes on where it stopped, this often in all


def never_cancelled() -> bool:
    """Return False: the default for steps that nobody interrupts."""
    return False


def no_other_runs(run: Run) -> Iterable[str]:  # noqa: ARG001
    """Return nothing: the default where no other run is known."""
    return ()


@dataclass(frozen=True)
class Tools:
    """What the steps work with.

    ``cancelled`` is asked between blocks and ends a step early. ``knows_dry_run`` says that ``invoke``
    takes the invocation type DryRun for what it is: one that does not would start the transfer.
    ``function_log`` finds what a function wrote, by the request id of its invocation and the run id,
    since a moment (seconds since the epoch); None where nobody can look. ``listings`` are shared by
    all runs with these tools.
    ``other_runs`` returns the ids of some other runs of a run's flow, the newest first: their bytes may
    have arrived in the place of its own. ``credentials`` reads a secret, for checks that need a key.
    ``allow`` is what a case may name at all.
    """

    endpoint: Callable[[Location], Endpoint]
    invoke: Callable[[Transfer, object], Started]
    registry: Registry
    clock: Clock
    cancelled: Callable[[], bool] = never_cancelled
    knows_dry_run: bool = False
    function_log: Callable[[Transfer, str | None, str, float], FunctionLog | None] | None = None
    listings: Listings = field(default_factory=Listings)
    other_runs: Callable[[Run], Iterable[str]] = no_other_runs
    credentials: Callable[[str], Credentials] = no_credentials
    allow: AllowList = field(default_factory=AllowList)


def manifest(run: Run) -> bytes:
    """Return the manifest that is written beside the file, and kept with the results."""
    return payload.manifest(
        flow_id=run.flow_id,
        run_id=run.run_id,
        case=run.case,
        file=run.file,
        created_utc=run.timeline["prepared"],
    )


def sidecar_contents(run: Run) -> dict[str, bytes]:
    """Return what is written beside a run's file, by the ending of its name."""
    return dict(zip(SIDECAR_ENDINGS, (payload.sha256_sidecar(run.file.sha256), manifest(run)), strict=True))


def delivered(flow: Flow, run: Run, tools: Tools) -> Stat | None:
    """Return what lies at the target under the name that is due, as it is now."""
    target, due = tools.endpoint(flow.target), name_due(flow, run)
    if due.exact is not None:
        return target.stat(due.exact)
    fitting = [stat for stat in target.list(due.beginning, LISTING_LIMIT) if due.fits(stat.name)]
    return min(fitting, key=lambda stat: stat.name, default=None)


class Changed(Exception):
    """The file changed or vanished while it was verified: it was not whole yet, and is waited for again."""


def pattern_of(recipe: Recipe, tools: Tools) -> Pattern:
    """Return the pattern of a recipe, with its options; a seed file is brought here if need be."""
    options = recipe.options
    if recipe.pattern == payload.SEED:
        options = {**options, "path": str(seeds.local_path(options, tools.endpoint, tools.cancelled))}
    return payload.configured(tools.registry.pattern_for(recipe.pattern), options)


def open_payload(
    run: Run, tools: Tools, other_run: str | None = None, size: int | None = None, depth: int = 0
) -> BinaryIO:
    """Return the run's bytes as a stream that ends with Interrupted once the run is cancelled.

    With ``depth``, the file that lies so many layers inside. With ``other_run`` and ``size``, the bytes
    that this other run would have sent. Raises TesterBug, before the last bytes, where what is made
    is not what was prepared.
    """
    recipe = run.file.recipe
    pattern = pattern_of(recipe, tools)
    if other_run is None:
        stream = payload.open_made(run.file, pattern, run.run_id, depth)
    else:
        stream = payload.open_like(recipe, pattern, other_run, run.file.size if size is None else size)
    return io.BufferedReader(_Cancellable(stream, tools.cancelled), payload.BUFFER_BYTES)


def may_be_of_another_run(run: Run, size: int, tools: Tools) -> bool:
    """Tell whether another run's file may have this size; of a seed, all runs have the same bytes."""
    recipe = run.file.recipe
    if recipe.pattern == payload.SEED:
        return False
    return bool(recipe.wraps) or pattern_of(recipe, tools).size_problem(size) is None


def as_due(due: Due, run: Run) -> Run:
    """Return a run as if what its flow takes out of the payload had been sent: all bytes can be made from that."""
    if not due.depth:
        return run
    file, recipe = run.file, run.file.recipe
    inner = dataclasses.replace(
        file,
        size=file.inside[due.depth - 1].size,
        sha256=file.inside[due.depth - 1].sha256,
        inside=file.inside[due.depth :],
        made_by=dataclasses.replace(recipe, wraps=recipe.wraps[due.depth :]),
    )
    return dataclasses.replace(run, file=inner)


class _Cancellable(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader, cancelled: Callable[[], bool]):
        self._stream = stream
        self._cancelled = cancelled

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._cancelled():
            raise Interrupted("the session ended while the file was being sent")
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


def read(target: Endpoint, stat: Stat, tools: Tools) -> Generator[bytes, None, None]:
    """Stream a file as it was seen; a broken connection is taken up again where it broke.

    Raises Changed where the file is gone or another one, NetworkError where the connection keeps
    breaking.
    """
    offset = 0
    for attempt in range(1, READ_ATTEMPTS + 1):
        try:
            with target.open(stat.name, offset, stat.version) as chunks:
                if chunks is None:
                    raise Changed
                for chunk in chunks:
                    if tools.cancelled():
                        raise Interrupted("the session ended while the file was being verified")
                    offset += len(chunk)
                    yield chunk
        except NetworkError as error:  # noqa: PERF203 - three rounds at the most
            if attempt == READ_ATTEMPTS:
                raise
            logger.info("reading %s broke at byte %d: %s", stat.name, offset, error.reason)
        else:
            break
    if offset != stat.size:
        raise Changed
