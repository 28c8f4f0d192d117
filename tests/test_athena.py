from __future__ import annotations

import json

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from pytest_fileflow.cli import main
from pytest_fileflow.results.athena import COLUMNS, NoTablePlace, ddl
from tests.support.inner import flow


def test_the_statements_are_valid_and_name_every_column():
    table, view = sqlglot.parse(ddl("s3://results-bucket/daily"), dialect="athena")
    assert isinstance(table, exp.Create)
    assert (table.kind, view.kind) == ("TABLE", "VIEW")
    columns = {column.name: column.kind.sql("hive").lower() for column in table.this.expressions}
    assert table.find(exp.PartitionedByProperty).sql("hive") == "PARTITIONED BY (`dt` STRING)"
    assert list(columns) == list(COLUMNS)
    assert columns["file"].replace(" ", "") == COLUMNS["file"]
    text = ddl("s3://results-bucket/daily/")
    assert "LOCATION 's3://results-bucket/daily/results/'" in text
    assert "'storage.location.template' = 's3://results-bucket/daily/results/dt=${dt}/'" in text
    assert "LOCATION 's3://results-bucket/results/'" in ddl("s3://results-bucket")


def test_names_and_types_fit_the_records_that_are_written(suite):
    suite.add("flows/copy.json", flow("copy", "copy", validation={"expect_within_seconds": 60}))
    for behaviour in ("truncate", "drop", "error", "flip"):
        suite.add(f"flows/{behaviour}.json", flow(behaviour, behaviour, owner="us", tags=["nightly"]))
    suite.run("flows").assert_outcomes(passed=1, failed=4)
    records = suite.records()
    types = {name: exp.DataType.build(kind, dialect="hive").sql("duckdb") for name, kind in COLUMNS.items()}
    fields = ", ".join(f"\"{name}\": '{kind}'" for name, kind in types.items())
    pattern = f"{suite.path}/fileflow-results/results/*/*/*/run.json"
    query = f"SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{fields}}})"
    answer = duckdb.connect().execute(query, [pattern])
    names = [column[0] for column in answer.description]
    rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    assert sorted(row["run_id"] for row in rows) == sorted(record["run_id"] for record in records)
    by_id = {record["run_id"]: record for record in records}
    for row in rows:
        told = by_id[row["run_id"]]
        assert set(told) <= set(COLUMNS)
        for name, value in told.items():
            shown = json.loads(row[name]) if name == "evidence" else row[name]
            assert shown == value, name


@pytest.mark.parametrize(
    "place", ["folder", "s3://", "s3://b'; DROP TABLE x; --", "s3://bucket/${dt}", "s3://bucket/a b"]
)
def test_what_cannot_be_a_location_is_refused(place, capsys):
    with pytest.raises(NoTablePlace, match="cannot be the location of a table"):
        ddl(place)
    assert main(["history", "--athena-ddl", place]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_prints_them(capsys):
    assert main(["history", "--athena-ddl", "s3://results-bucket/daily"]) == 0
    assert capsys.readouterr().out == ddl("s3://results-bucket/daily")
