from __future__ import annotations

import pytest

from pytest_fileflow.caught import expected_cause
from pytest_fileflow.causes import CAUSES
from pytest_fileflow.faults import FAULTS, Fault, FaultError
from pytest_fileflow.model import Contract, Flow, S3Location, SftpLocation, TestData, Transfer, Validation, Variant

S3 = S3Location("box")
SFTP = SftpLocation("sftp.acme.example", "acme", "/in", "secret")


@pytest.mark.parametrize("text", [*FAULTS, "delay:5", "source.rejected_key", "target.slow_network:0.5"])
def test_a_fault_is_read_and_written_in_one_form(text):
    assert Fault.parse(text).text == text


def test_names_may_have_hyphens():
    assert Fault.parse("Bit-Flip") == Fault("bit_flip")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("trunkate", "did you mean 'truncate'?"),
        ("", "one of drop, lose"),
        ("middle.rejected_key", "not at 'middle'"),
        ("source.truncate", "fault of the transfer, and not of one end"),
        ("drop:3", "takes no amount"),
        ("delay:soon", "not a number of 0 or more (seconds)"),
        ("delay:-1", "not a number of 0 or more"),
        ("delay:nan", "not a number of 0 or more"),
        ("delay:inf", "not a number of 0 or more"),
        ("truncate:1", "not a number of 0 or more and less than 1 (of the bytes are delivered)"),
        ("oversize:0", "not a number of 1 or more (bytes)"),
    ],
)
def test_what_is_no_fault_is_said(text, problem):
    with pytest.raises(FaultError) as caught:
        Fault.parse(text)
    assert problem in str(caught.value)


def test_every_fault_is_caught_by_a_cause_of_the_contract():
    assert {kind.cause for kind in FAULTS.values()} - {None} <= set(CAUSES)


@pytest.mark.parametrize(
    ("text", "flow", "side"),
    [
        ("rejected_key", Flow("f", SFTP, SFTP), "target"),
        ("rejected_key", Flow("f", SFTP, S3), "source"),
        ("source.rejected_key", Flow("f", SFTP, SFTP), "source"),
        ("missing_bucket", Flow("f", SFTP, S3), "target"),
        ("truncate", Flow("f", SFTP, S3), None),
    ],
)
def test_the_end_a_fault_is_at(text, flow, side):
    fault = Fault.parse(text)
    assert fault.side_in(flow) == side
    assert fault.problem_in(flow) is None


def test_a_fault_that_a_flow_cannot_have():
    assert "neither end of f is such" in str(Fault.parse("missing_bucket").problem_in(Flow("f", SFTP, SFTP)))
    assert "the target of f is no such" in str(Fault.parse("target.missing_bucket").problem_in(Flow("f", S3, SFTP)))


def with_data(pattern: str = "random", size: int = 1000) -> Flow:
    return Flow("f", S3, SFTP, testdata=TestData((Variant("", 0), Variant("", size)), pattern))


@pytest.mark.parametrize(
    ("text", "flow", "problem"),
    [
        ("truncate", with_data(size=0), "truncate needs a file of 1 bytes or more; the largest of f has 0"),
        ("bit_flip:1000", with_data(), "bit_flip needs a file of 1001 bytes or more; the largest of f has 1000"),
        ("block_swap", with_data(size=1), "needs a file of 2 bytes"),
        ("reencode", with_data("csv"), "reencode changes no file of pattern csv: they hold nothing but ASCII"),
        ("block_swap", with_data("fixed"), "they are the same line again and again"),
        ("denied_kms_key", Flow("f", S3, S3), "a fault of S3 ends with a kms_key_arn; neither end of f is such"),
        ("disk_full", Flow("f", S3, S3), "a fault of SFTP ends"),
    ],
)
def test_a_fault_that_would_change_nothing(text, flow, problem):
    assert problem in str(Fault.parse(text).problem_in(flow))


def test_faults_that_are_possible_in_small_files():
    for text in ("bit_flip:999", "truncate", "crlf", "gzip", "reencode", "oversize"):
        assert Fault.parse(text).problem_in(with_data()) is None


def test_the_key_decides_which_end_can_be_refused():
    flow = Flow("f", S3Location("box", kms_key_arn="key"), S3)
    assert Fault.parse("denied_kms_key").side_in(flow) == "source"


SYNC, ASYNC = Transfer("invoke", "arn", "RequestResponse"), Transfer("invoke", "arn", "Event")
EVENT = Transfer("event")


def caused(text: str, target=SFTP, transfer=SYNC, **more: object) -> str | None:
    flow = Flow("f", S3, target, transfer, **{"validation": Validation(100, 10), **more})
    return expected_cause(Fault.parse(text), flow)


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (caused("truncate"), "partial.truncated"),
        (caused("bit_flip"), "content.corrupt"),
        (caused("bit_flip", validation=Validation(checksum="none")), None),
        (caused("bom", validation=Validation(checksum="none", size_tolerance_bytes=2)), "content.bom"),
        (caused("bom", validation=Validation(checksum="none", size_tolerance_bytes=3)), None),
        (caused("truncate:0.9", validation=Validation(checksum="none", size_tolerance_bytes=99)), "partial.truncated"),
        (caused("truncate:0.9", validation=Validation(checksum="none", size_tolerance_bytes=200_000)), None),
        (caused("crlf", validation=Validation(checksum="none", size_tolerance_bytes=200_000)), "content.newlines"),
        (caused("delay"), "late"),
        (caused("delay:50"), None),
        (caused("delay:105"), "late"),
        (caused("delay:120"), "trigger.timeout"),
        (caused("delay:120", transfer=ASYNC), "missing.not_picked_up"),
        (caused("slow_writer"), None),
        (caused("slow_writer:105"), "late"),
        (caused("slow_writer:120"), "partial.truncated"),
        (caused("slow_writer:120", S3, ASYNC), "partial.truncated"),
        (caused("stalled_writer"), "partial.truncated"),
        (caused("stalled_writer", S3), "trigger.timeout"),
        (caused("stalled_writer", S3, EVENT), "partial.truncated"),
        (caused("crash"), "trigger.function_error"),
        (caused("crash", transfer=EVENT), "missing.not_picked_up"),
        (caused("throttle", transfer=ASYNC), "trigger.throttled"),
        (caused("throttle", transfer=Transfer("trigger_file")), "missing.not_picked_up"),
        (caused("throttle", validation=Validation(10, 5)), "trigger.throttled"),
        (caused("throttle", transfer=ASYNC, validation=Validation(10, 5)), "trigger.throttled"),
        (caused("rejected_key"), "auth.rejected"),
        (caused("slow_network"), None),
        (caused("disk_full"), "storage.failed"),
        (caused("disk_full", contract=Contract(probe_target=False)), "trigger.function_error"),
        (caused("disk_full", transfer=EVENT, contract=Contract(probe_target=False)), "missing.not_picked_up"),
        (caused("source.connection_reset", contract=Contract(probe_target=False)), "net.reset"),
    ],
)
def test_the_cause_that_a_flow_shows(told, cause):
    assert told == cause
