"""In the sandbox: the log of a function that ran by itself is found, and names the cause."""

from __future__ import annotations

ASTRAY = """
import pytest


@pytest.fixture(scope="session")
def transfer_invoker(transfer_invoker):
    class Astray:
        function_log = staticmethod(transfer_invoker.function_log)

        def __call__(self, arn, payload, invocation="Event"):
            return transfer_invoker(arn, {"unheard": "of"} if "nobody" in payload.values() else payload, invocation)

    return Astray()
"""


def flow(flow_id: str, payload: dict[str, str]) -> dict[str, object]:
    return {
        "flow_id": flow_id,
        "source": {"type": "S3", "bucket": f"{flow_id}-source", "prefix": "out/"},
        "target": {"type": "S3", "bucket": f"{flow_id}-target", "prefix": "in/"},
        "transfer": {
            "mode": "invoke",
            "lambda_arn": "arn:aws:lambda:us-west-2:123456789012:function:copy:live",
            "payload": payload,
        },
        "validation": {"expect_within_seconds": 6, "grace_seconds": 1},
        "testdata": {"size_bytes": 1000},
    }


def test_an_asynchronous_function_that_fails_is_named_by_its_own_log(suite):
    suite.pytester.makeconftest(ASTRAY)
    suite.add("flows/bad.json", flow("bad", {"flowConfigId": "nobody"}))
    suite.add("flows/good.json", flow("good", {"flowConfigId": "good"}))
    result = suite.run_apart("flows", "--fileflow-sandbox", "-m", "not contract")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    bad, good = suite.records()
    assert bad["cause"] == "trigger.function_error", bad
    assert "function:copy:live failed" in bad["reason"]
    assert "TransferError: no flow of" in bad["reason"]
    assert "still lies at s3://bad-source/out/" in bad["reason"]
    assert f"RequestId: {bad['evidence']['lambda_request_id']}" in bad["evidence"]["log_tail"]
    assert good["checks"][-1] == {"name": "copies", "outcome": "passed", "expected": "1 copy", "observed": "1 copy"}
