"""What became of the runs of the last weeks, a flow at a time, from the records in one place or several."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.results import places as named
from pytest_fileflow.results.history import engine
from pytest_fileflow.results.history.bucket import Bucket
from pytest_fileflow.results.history.places import Folder
from pytest_fileflow.results.history.reader import Reader
from pytest_fileflow.results.history.rollup import Rollup
from pytest_fileflow.results.history.rows import row_of
from pytest_fileflow.results.history.values import Day, FlowHistory, PastRun, State, Streak, Success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.history.places import Place
    from pytest_fileflow.results.history.rows import Row
    from pytest_fileflow.results.record import Record

__all__ = ["Day", "FlowHistory", "History", "PastRun", "State", "Streak", "Success"]

DAYS = 30
WEEK = timedelta(days=7)
MONTH = timedelta(days=DAYS)


class History:
    """The runs of one place or several since a moment, read once.

    ``notes`` are lines for the reader: files that are no records, and whether all runs are of the
    sandbox, or how many of those are left out. ``now`` is the moment it was read.
    """

    def __init__(self, places: Sequence[Place], rows: engine.Engine, notes: tuple[str, ...], now: datetime):
        self._places = places
        self._rows = rows
        self.notes = notes
        self.now = now

    @classmethod
    def open(
        cls,
        place: str | Sequence[str],
        clients: Callable[[], AwsClients],
        *,
        since: datetime | None = None,
        flow: str | None = None,
        sandbox: bool = False,
        rollups: Path | None = None,
        clock: Clock | None = None,
    ) -> History:
        """Read the records of folders and ``s3://bucket/prefix`` places.

        ``since`` is 30 days ago by default; ``flow`` a shell-style pattern of flow ids. Runs of the
        sandbox are left out if there are others, unless ``sandbox`` is set. A run that lies in
        several places counts once. ``clients`` is called only for what is in S3. With a folder for
        ``rollups`` only records are read that no reading before has seen.

        Raises:
            FileflowError: a place cannot be read.

        """
        now = (clock or Clock()).utc()
        since = since.astimezone(timezone.utc) if since else _first_day(now)
        places = [_place(name, clients) for name in ([place] if isinstance(place, str) else place)]
        rows = engine.Engine()
        reader = Reader(rows)
        for number, each in enumerate(places):
            kept = Rollup.of(rollups, each.name) if rollups else None
            reader.read(each, number, since.date(), flow, kept)
        sandboxed, left_out = rows.settle(since.timestamp(), with_sandbox=sandbox)
        notes = [*reader.notes()]
        if sandboxed and not sandbox:
            notes.append("all of these runs are of the sandbox")
        if left_out:
            is_one = left_out == 1
            told = "1 run of the sandbox is" if is_one else f"{left_out} runs of the sandbox are"
            notes.append(f"{told} left out: --sandbox shows {'it' if is_one else 'them'} too")
        return cls(places, rows, tuple(notes), now)

    def flows(self) -> list[FlowHistory]:
        """Return the flows, failing ones first, then those that could not be tested, then by name."""
        first = self.now.date().toordinal() - DAYS + 1
        days: dict[str, dict[int, Day]] = {}
        for row in self._rows.days(first - engine.EPOCH):
            day = date.fromordinal(row["day"] + engine.EPOCH)
            counts = {name: row[name] for name in ("passed", "failed", "errors", "p50", "p95", "cause")}
            days.setdefault(row["flow_id"], {})[day.toordinal()] = Day(day, **counts)
        rows = self._rows.flows(*(moment.timestamp() for moment in (self.now, self.now - WEEK, self.now - MONTH)))
        dates = range(first, first + DAYS)
        return [
            self._flow(
                row, tuple(days.get(row["flow_id"], {}).get(each) or Day(date.fromordinal(each)) for each in dates)
            )
            for row in rows
        ]

    def runs(self, flow_id: str, limit: int) -> list[PastRun]:
        """Return a flow's last runs, newest first."""
        return [self._run(row) for row in self._rows.runs(flow_id, limit)]

    def record(self, run: PastRun) -> Record | None:
        """Return the whole record of a run; None where it is no longer there.

        Raises:
            FileflowError: its place cannot be read.

        """
        for place in self._places:
            for path in _path_below(place, run.where):
                for found in place.read([path]):
                    if row_of(found.content, path, found.written):
                        record: Record = json.loads(found.content)
                        return record
        return None

    def _flow(self, row: Row, days: tuple[Day, ...]) -> FlowHistory:
        last = self._run(row)
        state = engine.STATES[row["rank"]]
        return FlowHistory(
            flow_id=row["flow_id"],
            owner=row["flow_owner"],
            description=row["flow_description"],
            direction=row["direction"],
            slo_seconds=row["flow_slo_seconds"],
            state=state,
            last=last,
            latest=_utc(row["latest"]),
            success_7=Success(row["passed_7"], row["counted_7"]),
            success_30=Success(row["passed_30"], row["counted_30"]),
            p50=row["p50"],
            p95=row["p95"],
            days=days,
            streak=Streak(row["streak"], _utc(row["since"])),
            last_cause=row["failed_cause"] if state == "passed" else last.cause,
            last_failed=None if row["last_failed"] is None else _utc(row["last_failed"]),
            runs=row["runs"],
        )

    def _run(self, row: Row) -> PastRun:
        return PastRun(
            **{name: row[name] for name in _KEPT},
            case=row["test"],
            began=_utc(row["began"]),
            phases_seconds=json.loads(row["phases"]),
            where=self._places[row["place"]].where(row["path"]) if row["path"] else "",
        )


_KEPT = (
    *("run_id", "flow_id", "kind", "direction", "attempt", "outcome", "cause", "reason", "hint"),
    *("latency_seconds", "slo_seconds", "size", "sandbox"),
)


def _first_day(now: datetime) -> datetime:
    """Return when the first of the days began that end with today."""
    return datetime.combine(now.date() - timedelta(days=DAYS - 1), datetime.min.time(), timezone.utc)


def _place(name: str, clients: Callable[[], AwsClients]) -> Place:
    try:
        told = named.Place.parse(name)  # as what writes records does
    except named.PlaceError as error:
        raise ConfigInvalid(f"{name}: {error}") from error
    if told.kind == "s3":
        return Bucket.of(told, clients)
    if told.kind == "folder":
        return Folder(str(Path(name).absolute()))
    raise ConfigInvalid(f"{name}: a history is read from a folder or from s3://bucket/prefix")


def _path_below(place: Place, where: str) -> Iterator[str]:
    root = place.where("x").removesuffix("x")
    if where.startswith(root):
        yield where.removeprefix(root)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
