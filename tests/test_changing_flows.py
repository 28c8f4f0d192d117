"""A session in the sandbox over flows that do more than copy: what is right passes, each wrong fails by its cause."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_fileflow.caught import expected_cause
from tests.support.faulty import KEY, config, fault_of, invoked, loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP = {"checks": ["gzip"]}
ZIPPED = {"checks": ["sidecars", {"name": "renamed", "to": "${file.stem}.csv.gz"}, "gzip"]}
STAMPED = {"checks": [{"name": "renamed", "to": "${file.stem}_*.csv"}]}
UNZIPPED = {"unwraps": ["gzip"], "checks": ["rows", {"name": "renamed", "to": "${file.stem}"}]}
SEALED = {"checks": [{"name": "pgp", "secret_arn": "<PGP_SECRET_ARN>"}, "gzip", "rows"]}
LABELLED = {
    "checks": [
        {"name": "tags", "equals": {"classification": "internal"}, "present": ["owner"]},
        {"name": "metadata", "equals": {"content-type": "text/csv", "Origin": "acme"}},
        {"name": "kms", "key_arn": KEY.replace("1111", "9999")},
        {"name": "sidecars", "within_seconds": 0.2},
    ]
}
# By the end that is delivered to: what a flow is for, a fault, and the cause; the fault None must pass.
CASES = [
    ("S3", "gzip", GZIP, None, None),
    ("S3", "gzip", GZIP, "as_sent", "content.unchanged"),
    ("S3", "gzip", GZIP, "truncate", "check.gzip"),
    ("S3", "gzip", GZIP, "stale", "check.gzip"),
    ("SFTP", "gzip", GZIP, "stalled_writer", "check.gzip"),
    ("SFTP", "zipped", ZIPPED, None, None),
    ("SFTP", "zipped", ZIPPED, "as_sent", "missing.renamed"),
    ("S3", "stamped", STAMPED, None, None),
    ("S3", "stamped", STAMPED, "duplicate", "duplicate"),
    ("S3", "labelled", LABELLED, None, None),
    ("S3", "labelled", LABELLED, "bare", "check.tags"),
    ("S3", "unzipped", UNZIPPED, None, None),
    ("S3", "unpacked", {"unwraps": ["gzip"]}, "as_sent", "content.unchanged"),
    ("S3", "unzipped", UNZIPPED, "bit_flip", "content.corrupt"),
    ("S3", "unzipped", UNZIPPED, "stale", "content.stale"),
    ("S3", "sealed", SEALED, None, None),
    ("S3", "sealed", SEALED, "bit_flip", "check.pgp"),
    ("S3", "passed", {"checks": ["gzip", "rows"]}, None, None),
    ("S3", "passed", {"checks": ["gzip", "rows"]}, "truncate", "partial.truncated"),
    ("S3", "beside", {"checks": [{"name": "sidecars", "within_seconds": 0.2}]}, "bare", "check.sidecars"),
]


def test_the_causes_are_those_that_a_rehearsal_asks_for(tmp_path):
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"flows": list(flows())}))
    for flow, (*_, cause) in zip(loaded(path).values(), CASES, strict=True):
        fault = fault_of(flow)
        assert fault is None or fault.problem_in(flow) is None
        assert cause == (expected_cause(fault, flow) if fault else None), flow.flow_id


def flows() -> Iterator[dict[str, object]]:
    for end, name, validation, fault, _ in CASES:
        rules = {"expect_within_seconds": 30, "grace_seconds": 2, **validation}
        faults = (fault,) if fault else ()
        called, data = flow_id(end, name, fault), {"size_bytes": 40_000, "pattern": "csv"}
        data |= {"wrap": ["gzip"]} if name in ("unzipped", "unpacked", "passed") else {}
        transfer = invoked(called, "Event")
        yield config(called, ("S3", end), faults=faults, validation=rules, testdata=data, transfer=transfer)


def flow_id(end: str, name: str, fault: str | None) -> str:
    return f"{name}-{end}-{(fault or 'right').partition(':')[0]}"


def test_each_right_flow_passes_and_each_wrong_one_fails_by_its_cause(suite):
    suite.pytester.makeconftest("")
    suite.add("flows/all.json", *flows())
    result = suite.run_apart("flows", "--fileflow-sandbox", "-m", "not contract")
    found = {record["flow_id"]: record for record in suite.records()}
    wrong = {
        each: (found[each]["cause"], cause, found[each]["reason"])
        for end, name, _, fault, cause in CASES
        if found[each := flow_id(end, name, fault)]["cause"] != cause
    }
    assert wrong == {}, result.stdout.str()[-3000:]
