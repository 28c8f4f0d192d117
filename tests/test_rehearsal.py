from __future__ import annotations

import pytest

from pytest_fileflow.cli import main
from pytest_fileflow.faults import FAULTS
from pytest_fileflow.model import Flow, S3Location, SftpLocation, TestData, Transfer, Validation, Variant
from pytest_fileflow.rehearsal import SIZE, cases, conclusion, matrix, problem

S3 = S3Location("landing", "acme", "arn:aws:kms:eu-west-1:111111111111:key/1")
SFTP = SftpLocation("sftp.acme.example", "acme", "/in", "secret")
LAMBDA = "arn:aws:lambda:eu-west-1:111111111111:function:mover:live"


def rehearsed(flow: Flow, *faults: str):
    return list(cases(flow, faults, lambda _: None))


def test_every_fault_that_is_possible_is_rehearsed_at_every_end():
    found = [case.rehearsal.fault for case in rehearsed(Flow("f", SFTP, S3)) if case.kind == "transfer"]
    assert found[0] == "nothing"
    assert len(set(found)) == len(found)
    assert {fault.rpartition(".")[2] for fault in found} == {"nothing", *FAULTS} - {"as_sent", "bare"}
    assert "source.disk_full" in found
    assert "source.missing_bucket" not in found


def test_no_rehearsal_disturbs_another():
    flow = Flow("f", S3, SFTP, Transfer("invoke", LAMBDA))
    transfers = [case.flow for case in rehearsed(flow) if case.kind == "transfer"]
    for told in ("flow_id", "source", "target"):
        assert len({getattr(each, told) for each in transfers}) == len(transfers)
    functions = {each.transfer.lambda_arn for each in transfers}
    assert len(functions) == len(transfers)
    assert "arn:aws:lambda:eu-west-1:111111111111:function:mover-f-drop:live" in functions


def test_a_fault_of_an_end_has_a_server_or_bucket_of_its_own_and_is_met_by_the_contract():
    contract, transfer = rehearsed(Flow("f", S3, SFTP), "target.rejected_key")[1:]
    assert (contract.kind, transfer.kind) == ("contract", "transfer")
    assert transfer.flow.target.host != SFTP.host
    assert transfer.flow.source.bucket == S3.bucket
    (_, _, missing) = rehearsed(Flow("f", S3, SFTP), "missing_bucket")
    assert missing.flow.source.bucket == "landing-source-missing-bucket"


def test_files_are_small_and_waits_short():
    slow = Validation(expect_within_seconds=3600, grace_seconds=60, post_arrival_wait_seconds=30)
    flow = Flow("f", S3, S3, validation=slow, testdata=TestData((Variant("stress", 10**9),)))
    for case in rehearsed(flow, "drop"):
        assert case.variant.size == SIZE
        assert case.flow.give_up_seconds < 60
        assert case.flow.validation.post_arrival_wait_seconds <= 2
    (first, _) = list(cases(flow, ("drop",), lambda size: "no" if size == SIZE else None))
    assert first.variant.size == 10**9


def record(fault: str, must_be: str | None, cause: str | None) -> dict:
    told = {"flow_id": "f", "fault": fault, "must_be": must_be}
    return {"rehearsal": told, "cause": cause, "reason": "it was seen", "kind": "transfer"}


@pytest.mark.parametrize(
    ("must_be", "cause", "text"),
    [
        ("late", "late", ""),
        (None, None, ""),
        ("late", None, "delay was not caught as late: it passed"),
        ("late", "net.dns", "delay was not caught as late: net.dns: it was seen"),
        (None, "late", "with delay this flow must pass, but late: it was seen"),
    ],
)
def test_what_is_wrong_with_a_verdict(must_be, cause, text):
    assert problem(record("delay", must_be, cause)) == text


def test_the_table_begins_with_what_is_wrong():
    ended = record("bom", "content.bom", "tester.interrupted")
    good = [record("nothing", None, None), record("delay", "late", "late")]
    lines = matrix([ended, *good, record("drop", "late", None)])
    assert [line.split() for line in lines[1:]] == [
        ["WRONG", "f", "drop", "passed,", "must", "be", "late"],
        ["passed", "f", "nothing", "passed"],
        ["caught", "f", "delay", "late"],
        ["ended", "f", "bom", "tester.interrupted"],
    ]


def test_what_was_ended_is_neither_right_nor_wrong():
    records = [record("nothing", None, None), record("bom", "content.bom", "tester.interrupted")]
    assert conclusion(records, ["bom", "source.rejected_key"]) == [
        "1 of 2 are as they must be, 1 were interrupted",
        "NOT REHEARSED source.rejected_key: none of these flows can have it",
    ]


def test_two_amounts_of_a_fault_are_two_rehearsals():
    names = [case.flow.flow_id for case in rehearsed(Flow("f", S3, S3), "delay:1", "delay:24")]
    assert names == ["f--nothing", "f--delay-1", "f--delay-24"]


def test_a_rehearsal_in_the_sandbox(suite):
    ends = {"source": {"type": "S3", "bucket": "landing"}, "target": {"type": "S3", "bucket": "landed"}}
    flow = {"flow_id": "acme", **ends, "transfer": {"lambda_arn": "arn:aws:lambda:...:...:function:mover"}}
    blind = {**flow, "flow_id": "blind", "validation": {"checksum": "none"}}
    suite.pytester.makeconftest("")
    suite.add("flows/a.json", flow, blind, {**flow, "flow_id": "off", "enabled": False})
    result = suite.run_apart("flows", "--fileflow-rehearse=bit_flip,missing_bucket,truncate", "-n", "2")
    # per flow: nothing, bit_flip, truncate, and both buckets with their contracts
    result.assert_outcomes(passed=2 * 7, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*rehearsal in the sandbox*",
            "caught *acme *bit_flip * content.corrupt",
            "caught *acme *source.missing_bucket * location.missing",
            "passed *blind *bit_flip * passed",
            "10 of 10 are as they must be",
        ]
    )
    records = suite.records()
    assert {each["rehearsal"]["flow_id"] for each in records} == {"acme", "blind"}
    assert all(each["sandbox"] for each in records)
    faults = {each["flow_id"]: each.get("faults") for each in records}
    assert faults["acme--truncate"] == ["truncate"]
    assert not (suite.pytester.path / ".pytest_cache/v/fileflow").exists()


def test_an_unknown_fault_is_a_usage_error(suite):
    suite.add(
        "flows/a.json", {"flow_id": "a", **{end: {"type": "S3", "bucket": "box"} for end in ("source", "target")}}
    )
    result = suite.run_apart("flows", "--fileflow-rehearse=trunkate")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--fileflow-rehearse: 'trunkate' names no fault: did you mean 'truncate'?"])


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ["--fileflow-rehearse=all", "--fileflow-results=fileflow-rehearsal", "flows"]),
        (["--fault", "drop", "--fault", "source.disk_full"], ["--fileflow-rehearse=drop,source.disk_full"]),
        (["mine", "-k", "acme"], ["mine", "-k", "acme"]),
        (["--fileflow-results=here"], ["--fileflow-results=here"]),
    ],
)
def test_the_command_line(monkeypatch, tmp_path, given, passed):
    calls: list[list[str]] = []
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest, "main", lambda arguments: calls.append(arguments) or 0)
    assert main(["rehearse", *given]) == 0
    (arguments,) = calls
    assert [each for each in passed if each not in arguments] == []
    assert ("flows" in arguments) == ("mine" not in given)
    assert sum(each.startswith("--fileflow-results") for each in arguments) == 1


def test_the_command_line_helps(capsys):
    assert main(["rehearse", "--help"]) == 0
    assert "--fault" in capsys.readouterr().out
    assert main([]) == 2
