"""The table and view with which Amazon Athena reads records where they lie in S3."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# By field of a record: its type in Hive's words. Evidence is anybody's, and stays JSON text.
COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "schema": "int",
        "run_id": "string",
        "flow_id": "string",
        "case": "string",
        "kind": "string",
        "direction": "string",
        "attempt": "int",
        "outcome": "string",
        "cause": "string",
        "reason": "string",
        "hint": "string",
        "description": "string",
        "owner": "string",
        "tags": "array<string>",
        "file": "struct<name:string,size:bigint,sha256:string>",
        "source": "struct<type:string,location:string>",
        "target": "struct<type:string,location:string>",
        "observed": "struct<size:bigint,sha256:string,location:string>",
        "timeline": "map<string,string>",
        "phases_seconds": "map<string,double>",
        "latency_seconds": "double",
        "latency_resolution_seconds": "double",
        "slo_seconds": "double",
        "checks": "array<struct<name:string,outcome:string,expected:string,observed:string>>",
        "evidence": "string",
        "residue": "array<string>",
        "sandbox": "boolean",
        "faults": "array<string>",
        "due": "struct<name:string,size:bigint,sha256:string,wrapped_in:array<string>>",
        "rehearsal": "struct<flow_id:string,fault:string,must_be:string>",
    }
)
TABLE: Final = "fileflow_records"
VIEW: Final = "fileflow_runs"

_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9!_.=+@,-]+)*/*")

_STATEMENTS = """\
CREATE EXTERNAL TABLE IF NOT EXISTS `{table}` (
{columns}
)
PARTITIONED BY (`dt` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
LOCATION '{place}/results/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = 'NOW-3YEARS,NOW',
  'storage.location.template' = '{place}/results/dt=${{dt}}/'
);

CREATE OR REPLACE VIEW {view} AS
SELECT * FROM {table} WHERE "$path" LIKE '%/run.json';
"""


class NoTablePlace(ValueError):
    """A text that cannot be a table's location; the message says why, in one line."""


def ddl(place: str) -> str:
    """Return the two statements for the records below ``s3://bucket/prefix``; raises NoTablePlace.

    Days are partitions that Athena works out by itself. It reads all files below a day; the view
    leaves out what lies beside the records.
    """
    if not _PLACE.fullmatch(place):
        meant = "s3://bucket/prefix, in letters, digits and !_.=+@,-"
        raise NoTablePlace(f"{place!r} cannot be the location of a table: it is {meant}")
    columns = ",\n".join(f"  `{name}` {kind}" for name, kind in COLUMNS.items())
    return _STATEMENTS.format(table=TABLE, view=VIEW, place=place.rstrip("/"), columns=columns)
