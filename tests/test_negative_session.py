"""Negative cases as items of a session: collected, marked, carried out, recorded; in the sandbox and in memory."""

from __future__ import annotations

import json

import pytest

from tests.support.inner import flow

ALL = ["wrong_key", "unknown_user", "forbidden_write", "missing_source", "bad_payload"]
FUNCTION = "arn:aws:lambda:us-west-2:<ACCOUNT_ID>:function:file-transfer"


def end(kind: str, flow_id: str, side: str) -> dict[str, object]:
    if kind == "S3":
        return {"type": "S3", "bucket": f"box-{side}", "prefix": f"{flow_id}/"}
    secret = f"<{flow_id.upper()}_{side.upper()}_SECRET>"
    return {"type": "SFTP", "host": f"{side}.example.com", "username": flow_id, "dir": f"/{side}", "secret_arn": secret}


def config(flow_id: str, source: str, target: str, negative: list[object], **transfer: object) -> dict[str, object]:
    return {
        "flow_id": flow_id,
        "source": end(source, flow_id, "source"),
        "target": end(target, flow_id, "target"),
        "transfer": transfer,
        "validation": {"expect_within_seconds": 30},
        "testdata": {"size_bytes": "4KiB"},
        "negative": negative,
    }


def test_all_five_pass_in_the_sandbox_in_all_four_directions(suite):
    suite.pytester.makeconftest("")
    directions = [(source, target) for source in ("S3", "SFTP") for target in ("S3", "SFTP")]
    for source, target in directions:
        name = f"{source}_{target}".lower()
        payload = {"id": name, "key": "${source.path}"}
        suite.add(f"flows/{name}.json", config(name, source, target, ALL, lambda_arn=FUNCTION, payload=payload))
    # As the flows of the field are: a function that sweeps, for whatever payload.
    probe = {"name": "missing_source", "payload": {"file": "${file.name}"}}
    suite.add("flows/sweeps.json", config("sweeps", "SFTP", "S3", [*ALL[:3], probe, ALL[4]], lambda_arn=FUNCTION))
    alone = {"name": "missing_source", "within_seconds": 2}
    suite.add("flows/trigger.json", config("trigger", "SFTP", "S3", [*ALL[:3], alone], mode="trigger_file"))
    suite.add("flows/event.json", config("event", "S3", "SFTP", [*ALL[:3]]))

    outcome = suite.run_apart("flows", "--fileflow-sandbox", "-n", "2")

    records = [record for record in suite.records() if record["kind"] == "rejects"]
    assert {record["cause"]: record["reason"] for record in records} == {None: None}
    assert len(records) == 4 * 5 + 5 + 4 + 3
    outcome.assert_outcomes(passed=len(records) + 2 * 7)
    assert all(check["outcome"] == "passed" for record in records for check in record["checks"])
    assert {record["case"] for record in records} == {f"rejects-{name}" for name in ALL}


def test_they_are_items_with_a_marker_and_a_name(suite):
    suite.add("flows/acme.json", flow("acme", "anything", negative=["bad_payload", "wrong_key"]))
    listed = suite.run("flows", "--collect-only", "-q", "-m", "negative").stdout
    listed.fnmatch_lines(["flows/acme.json::acme*rejects-bad_payload*", "flows/acme.json::acme*rejects-wrong_key*"])
    suite.run("flows/acme.json::acme[rejects-bad_payload]").assert_outcomes(failed=1)
    (record,) = suite.records()
    assert (record["case"], record["outcome"], record["cause"]) == (
        "rejects-bad_payload",
        "failed",
        "negative.accepted",
    )


def test_a_function_that_takes_anything_fails_and_foreign_endpoints_error(suite, workers):
    suite.add("flows/takes.json", flow("takes", "anything", negative=["missing_source", "bad_payload"]))
    suite.add("flows/fails.json", flow("fails", "error", negative=["missing_source", "bad_payload", "wrong_key"]))
    result = suite.run("flows", "-m", "negative", *workers)
    result.assert_outcomes(passed=2, failed=2, errors=1)
    causes = {(record["flow_id"], record["case"]): record["cause"] for record in suite.records()}
    assert causes == {
        ("takes", "rejects-missing_source"): "negative.accepted",
        ("takes", "rejects-bad_payload"): "negative.accepted",
        ("fails", "rejects-missing_source"): None,
        ("fails", "rejects-bad_payload"): None,
        ("fails", "rejects-wrong_key"): "tester.not_tried",
    }
    result.stdout.fnmatch_lines(["*negative.accepted: arn:aws:lambda:*:function:anything reported success for a *"])


def test_what_cannot_be_tried_is_said_at_its_place(suite):
    suite.add("flows/acme.json", text=json.dumps(flow(transfer={"mode": "event"}, negative=["bad_payload"])))
    result = suite.run("flows")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*$.negative?0?  bad_payload is not possible in an event flow*"])


@pytest.mark.parametrize("kind", ["S3", "SFTP"])
def test_a_write_where_a_flow_may_write_is_let_in_and_removed(suite, kind):
    """Two flows of one user: each may write where the other does, and the sandbox knows no better."""
    suite.pytester.makeconftest("")
    place = "prefix" if kind == "S3" else "dir"
    other = "other/" if kind == "S3" else "/other"
    mine = config("mine", kind, kind, [{"name": "forbidden_write", "side": "source", place: other}])
    theirs = json.loads(json.dumps({**mine, "flow_id": "theirs", "negative": []}))
    theirs["source"][place] = other
    suite.add("flows/mine.json", mine)
    suite.add("flows/theirs.json", theirs)
    suite.run_apart("flows", "--fileflow-sandbox", "-m", "negative or contract").assert_outcomes(
        passed=2, failed=1, deselected=2
    )
    (record,) = [record for record in suite.records() if record["kind"] == "rejects"]
    assert record["cause"] == "negative.accepted"
    assert record["reason"].endswith("; the probe was removed")
