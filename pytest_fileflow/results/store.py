"""Where records are kept: a folder, in the contract's layout. Written once, whole, and never changed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.errors import ResultsStoreFailed
from pytest_fileflow.results.record import metrics_csv, summary_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.results.record import Record


@dataclass(frozen=True)
class Directory:
    """A results folder. Safe for any number of processes: every run has a folder of its own."""

    root: Path

    def write(self, record: Record, manifest: bytes | None = None) -> str:
        """Write a run's record, summary, metrics and manifest; return where the record lies.

        ``run.json`` comes last, so that where it is, the rest is too. Raises ResultsStoreFailed.
        """
        day, flow_id, name = _day(record), record["flow_id"], record["file"]["name"]
        parts = (f"dt={day}", f"flow_id={flow_id}")
        folder = self.root.joinpath("results", *parts, f"run_id={record['run_id']}")
        path = folder / "run.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if manifest is not None:
                _write(self.root.joinpath("manifests", *parts, f"{name}.manifest.json"), manifest)
            _write(folder / "summary.txt", summary_text(record, str(path)).encode("utf-8", "replace"))
            _write(folder / "metrics.csv", metrics_csv(record).encode("utf-8", "replace"))
            _write(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        except OSError as error:
            raise _failed(folder, error) from error
        return str(path)


def _day(record: Record) -> str:
    # The day the run began, in UTC: its first stamp. A run that was never prepared has none.
    return min(record["timeline"].values(), default="unknown")[:10]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _failed(path: Path, error: OSError) -> ResultsStoreFailed:
    return ResultsStoreFailed(f"{path} cannot be written: {error.strerror or type(error).__name__}")
