"""What is asked of the rows of a history, in DuckDB: a table in memory, and the queries over it.

Values reach a query as parameters only.
"""

from __future__ import annotations

import errno
import glob
import json
import logging
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_fileflow.results.history.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pytest_fileflow.results.history.rows import Row
    from pytest_fileflow.results.history.values import State

logger = logging.getLogger(__name__)

SECONDS_A_DAY: Final = 86400
EPOCH: Final = date(1970, 1, 1).toordinal()  # day 0 of the queries
STATES: Final[tuple[State, ...]] = ("failing", "error", "passed")  # by the rank of the queries
MOST_ROWS: Final = 2**63 - 1  # that a query takes for a limit
GONE_DAYS: Final = 8  # a case that has not run for so long while others of its flow did was removed

_TYPES = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
_NAMES = ", ".join(COLUMNS)
# No folder above a file is a column, whatever it is called.
_LOAD = f"INSERT INTO runs SELECT {_NAMES}, $place FROM read_parquet($path, hive_partitioning = false)"  # noqa: S608 - our own names
_OF_DAY = f"SELECT {_NAMES} FROM runs WHERE place = $place AND starts_with(path, $day) ORDER BY path"  # noqa: S608
_DROP = "DELETE FROM runs WHERE place = $place AND path IN (SELECT unnest($paths))"
_ADD = (
    f"INSERT INTO runs SELECT {_NAMES}, $place "  # noqa: S608 - our own names
    f"FROM read_json($path, format = 'newline_delimited', columns = {{{_TYPES}}}, hive_partitioning = false)"
)

# Each case as its last run left it: the newest run that says so, how many in a row do, and since when.
_CASES = """
CREATE TEMP TABLE cases AS
WITH ends AS (
    SELECT flow_id, test, max(began) AS latest,
        max(began) FILTER (outcome = 'passed') AS passed_at,
        max(began) FILTER (outcome = 'failed') AS failed_at,
        max(began) FILTER (outcome = 'error') AS error_at
    FROM runs GROUP BY flow_id, test
), standing AS (
    SELECT *, CASE
        WHEN failed_at > coalesce(passed_at, -1) THEN 'failed'
        WHEN error_at > coalesce(passed_at, -1) THEN 'error'
        ELSE 'passed' END AS outcome
    FROM ends
    QUALIFY latest > least(max(latest) OVER (PARTITION BY flow_id), $now) - $gone
)
SELECT s.flow_id, s.test, CASE s.outcome WHEN 'failed' THEN 0 WHEN 'error' THEN 1 ELSE 2 END AS rank,
    max(r.began) AS newest, arg_max(r.rowid, (r.began, r.attempt)) AS last, count(*) AS streak, min(r.began) AS since
FROM standing s JOIN runs r ON r.flow_id = s.flow_id AND r.test = s.test AND r.outcome = s.outcome
    AND (s.outcome = 'passed' OR r.began > coalesce(s.passed_at, -1))
GROUP BY s.flow_id, s.test, s.outcome
"""

_FLOWS = """
WITH totals AS (
    SELECT flow_id, count(*) AS runs, max(began) AS latest,
        arg_max(owner, began) AS flow_owner, arg_max(description, began) AS flow_description,
        arg_max(slo_seconds, began) FILTER (slo_seconds IS NOT NULL) AS flow_slo_seconds,
        count(*) FILTER (kind = 'transfer' AND outcome = 'passed' AND began >= $week) AS passed_7,
        count(*) FILTER (kind = 'transfer' AND outcome <> 'error' AND began >= $week) AS counted_7,
        count(*) FILTER (kind = 'transfer' AND outcome = 'passed' AND began >= $month) AS passed_30,
        count(*) FILTER (kind = 'transfer' AND outcome <> 'error' AND began >= $month) AS counted_30,
        quantile_cont(latency_seconds, 0.5) AS p50, quantile_cont(latency_seconds, 0.95) AS p95,
        max(began) FILTER (outcome = 'failed') AS last_failed,
        arg_max(cause, began) FILTER (outcome = 'failed') AS failed_cause
    FROM runs GROUP BY flow_id
), standing AS (
    SELECT flow_id, min(rank) AS rank, arg_max(last, (-rank, newest)) AS last,
        arg_max(streak, (-rank, streak)) AS streak, arg_max(since, (-rank, streak)) AS since
    FROM cases GROUP BY flow_id
), passing AS (
    SELECT r.flow_id, count(*) AS streak, min(r.began) AS since
    FROM runs r JOIN totals t ON t.flow_id = r.flow_id
    WHERE r.outcome = 'passed' AND r.began >= coalesce(t.last_failed, -1)
    GROUP BY r.flow_id
)
SELECT t.* EXCLUDE (flow_id), s.rank, r.*,
    CASE s.rank WHEN 2 THEN p.streak ELSE s.streak END AS streak,
    CASE s.rank WHEN 2 THEN p.since ELSE s.since END AS since
FROM totals t JOIN standing s ON s.flow_id = t.flow_id JOIN runs r ON r.rowid = s.last
    LEFT JOIN passing p ON p.flow_id = t.flow_id
ORDER BY s.rank, t.flow_id
"""

_DAYS = """
SELECT flow_id, CAST(floor(began / 86400) AS INTEGER) AS day,
    count(*) FILTER (outcome = 'passed') AS passed, count(*) FILTER (outcome = 'failed') AS failed,
    count(*) FILTER (outcome = 'error') AS errors,
    quantile_cont(latency_seconds, 0.5) AS p50, quantile_cont(latency_seconds, 0.95) AS p95,
    arg_max(cause, began) FILTER (outcome = 'failed') AS cause
FROM runs WHERE began >= $first * 86400.0 GROUP BY flow_id, day
"""

_LAST = "SELECT * FROM runs WHERE flow_id = $flow ORDER BY began DESC, attempt DESC LIMIT $limit"
# What is said of a run whose process was lost gives way to what the process itself has said.
_TWICE = """
DELETE FROM runs WHERE rowid NOT IN (
    SELECT arg_min(rowid, (cause IS NOT DISTINCT FROM 'tester.interrupted', path = '', rowid)) FROM runs GROUP BY run_id
)
"""
_COUNTS = "SELECT count(*) AS runs, count(*) FILTER (sandbox) AS sandboxed FROM runs"


class Engine:
    """The rows of a history in DuckDB, in memory; nothing is loaded over the network.

    Of each row it also knows its place, a number of the caller's. Moments are seconds since 1970.
    """

    def __init__(self) -> None:
        import duckdb

        offline: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        self._connection = duckdb.connect(":memory:", config=offline)
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        self._connection.execute(f"CREATE TABLE runs ({columns}, place INTEGER)")

    def add(self, rows: Iterable[Row], place: int) -> None:
        """Add rows of a place."""
        with tempfile.TemporaryDirectory(prefix="fileflow-") as folder:
            path = Path(folder, "rows.ndjson")
            with path.open("w", encoding="ascii") as file:
                file.writelines(f"{json.dumps(each)}\n" for each in rows)
            if path.stat().st_size:
                self._ask(_ADD, path=glob.escape(str(path)), place=place)

    def load(self, path: Path, place: int) -> bool:
        """Add the rows of a place from a parquet file; return whether it can be read."""
        import duckdb

        try:
            self._ask(_LOAD, path=glob.escape(str(path)), place=place)
        except duckdb.Error as error:
            logger.info("%s cannot be read: %s", path, error)
            return False
        return True

    def save(self, path: Path, place: int, day: str) -> None:
        """Write the rows of a place and day to a parquet file; raises OSError."""
        import duckdb

        rows = self._connection.sql(_OF_DAY, params={"place": place, "day": f"dt={day}/"})
        try:
            rows.write_parquet(str(path), compression="zstd")
        except duckdb.Error as error:
            raise OSError(errno.EIO, str(error)) from error

    def paths(self, place: int) -> set[str]:
        """Return the paths of the records of a place that it has the rows of."""
        return {row["path"] for row in self._ask("SELECT path FROM runs WHERE place = $place", place=place)}

    def drop(self, place: int, paths: Collection[str]) -> None:
        """Remove the rows of some records of a place."""
        if paths:
            self._ask(_DROP, place=place, paths=list(paths))

    def settle(self, since: float, *, with_sandbox: bool) -> tuple[int, int]:
        """Keep runs from a moment on, each once, those of the sandbox only if asked for or alone.

        Returns how many of the sandbox are kept, and how many are left out.
        Called once, after all rows were added and before anything is asked.
        """
        self._ask("DELETE FROM runs WHERE began < $since", since=since)
        self._ask(_TWICE)
        (counts,) = self._ask(_COUNTS)
        if not with_sandbox and counts["sandboxed"] < counts["runs"]:
            self._ask("DELETE FROM runs WHERE sandbox")
            return 0, int(counts["sandboxed"])
        return int(counts["sandboxed"]), 0

    def flows(self, now: float, week: float, month: float) -> list[Row]:
        """Return a row a flow, worst first: its last run, and its figures from a moment 7 and 30 days ago on.

        Runs that a clock dates later than ``now`` make no other case old.
        """
        self._ask("DROP TABLE IF EXISTS cases")
        self._ask(_CASES, gone=GONE_DAYS * SECONDS_A_DAY, now=now)
        return self._ask(_FLOWS, week=week, month=month)

    def days(self, first: int) -> list[Row]:
        """Return a row a flow and day that had runs, from a day on, counted from 1970."""
        return self._ask(_DAYS, first=first)

    def runs(self, flow_id: str, limit: int) -> list[Row]:
        """Return a flow's runs, newest first."""
        return self._ask(_LAST, flow=flow_id, limit=min(limit, MOST_ROWS))

    def _ask(self, query: str, **values: object) -> list[Row]:
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
