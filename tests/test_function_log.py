"""What is read out of a function's log, in the forms that Lambda and its runtimes document."""

from __future__ import annotations

import json

import pytest

from pytest_fileflow.diagnosis.function_log import LOG_TAIL_BYTES, tail, words
from pytest_fileflow.logs import FunctionLog

ID = "5b13e3a1-1a5c-4f3a-9d5b-0a6b1c0e7d11"
OTHER = "99999999-1a5c-4f3a-9d5b-0a6b1c0e7d11"
START, END = f"START RequestId: {ID} Version: $LATEST", f"END RequestId: {ID}"
REPORT = f"REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB"


def said(*lines: str, request_id: str | None = ID):
    return words(FunctionLog(lines), request_id)


def event(kind: str, **record: object) -> str:
    return json.dumps({"time": "2026-11-24T06:00:00Z", "type": kind, "record": {"requestId": ID, **record}})


JSON_START = event("platform.start", version="$LATEST")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            (START, "[ERROR] ValueError: no such partner", "Traceback (most recent call last):", "  x", END, REPORT),
            "failed with ValueError: no such partner",
        ),
        ((START, "[ERROR] KeyError: 'name'", END, REPORT), "failed with KeyError: 'name'"),
        (
            (
                START,
                f"RequestId: {ID} Error: Runtime exited with error: exit status 1",
                "Runtime.ExitError",
                END,
                REPORT,
            ),
            "failed with Runtime exited with error: exit status 1",
        ),
        (
            (START, END, f"{REPORT}\tStatus: error\tError Type: Runtime.OutOfMemory"),
            "failed with Runtime.OutOfMemory",
        ),
        (
            (
                START,
                f'2026-11-24T06:00:00.000Z\t{ID}\tERROR\tInvoke Error \t{{"errorType":"Error","errorMessage":"boom"}}',
                END,
                REPORT,
            ),
            "failed with Error: boom",
        ),
        (
            (
                JSON_START,
                json.dumps({"level": "ERROR", "errorType": "ValueError", "errorMessage": "no", "stackTrace": []}),
                event("platform.report", status="error", metrics={"durationMs": 12.0}),
            ),
            "failed with ValueError: no",
        ),
        (
            (
                JSON_START,
                json.dumps({"level": "ERROR", "message": {"errorType": "TypeError", "errorMessage": "x is undefined"}}),
                event("platform.runtimeDone", status="error", errorType="TypeError"),
            ),
            "failed with TypeError: x is undefined",
        ),
        (
            (JSON_START, event("platform.report", status="failure", errorType="Runtime.ExitError")),
            "failed with Runtime.ExitError",
        ),
    ],
)
def test_a_function_that_failed(lines, sentence):
    found = said(*lines)
    assert (found.cause, found.sentence) == ("trigger.function_error", sentence)
    assert found.evidence["lambda_request_id"] == ID
    assert lines[0] in found.evidence["log_tail"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            (START, f"2026-11-24T06:00:03.000Z {ID} Task timed out after 3.00 seconds", END, REPORT),
            "ran into its own time limit after 3 s",
        ),
        ((START, END, f"{REPORT}\tStatus: timeout"), "ran into its own time limit"),
        (
            (START, f"RequestId: {ID} Error: Task timed out after 0.50 seconds", END, REPORT),
            "ran into its own time limit after 0.50 s",
        ),
        (
            (JSON_START, event("platform.report", status="timeout", metrics={"durationMs": 3000.0})),
            "ran into its own time limit after 3 s",
        ),
    ],
)
def test_a_function_that_timed_out(lines, sentence):
    found = said(*lines)
    assert (found.cause, found.sentence) == ("trigger.timeout", sentence)


@pytest.mark.parametrize(
    "lines",
    [
        (START, "moved a.csv", END, REPORT),
        (
            START,
            f"[ERROR]\t2026-11-24T06:00:00.000Z\t{ID}\tone of three partners did not answer",
            "goes on",
            END,
            REPORT,
        ),
        (START, "[ERROR] Partner: busy, waiting", "moved a.csv after all", END, REPORT),
        (
            JSON_START,
            json.dumps({"level": "ERROR", "logger": "root", "errorType": "ValueError", "errorMessage": "caught"}),
            event("platform.report", status="success"),
        ),
        (JSON_START, '{"no": "json', '["neither"]', '{"type": "platform.report", "record": 7}', END),
    ],
)
def test_a_function_that_ended_well_says_nothing(lines):
    found = said(*lines)
    assert found.cause is None
    assert "log" not in found.evidence


def test_only_the_last_try_counts():
    failed = (START, "[ERROR] ValueError: no", END, REPORT)
    assert said(*failed, START, "moved a.csv", END, REPORT).cause is None
    again = said(*failed, *failed, *failed)
    assert again.sentence == "failed 3 times, at last with ValueError: no"


def test_other_invocations_in_the_same_stream_are_left_out():
    other = [line.replace(ID, OTHER) for line in (START, "[ERROR] ValueError: theirs", END, REPORT)]
    found = said(START, "[ERROR] ValueError: ours", END, REPORT, *other)
    assert found.sentence == "failed with ValueError: ours"
    assert "theirs" not in found.evidence["log_tail"]
    assert said(*other, START, END, REPORT).cause is None


def test_a_function_that_has_not_ended_is_said_to_be_so():
    found = said(START, "reading a.csv")
    assert found.cause is None
    assert "does not show an end" in found.evidence["log"]


def test_lines_found_by_the_run_id_alone_are_judged_as_they_are():
    found = said("[ERROR] TransferError: a_00ff.csv: refused", request_id=None)
    assert found.sentence == "failed with TransferError: a_00ff.csv: refused"


def test_nothing_found_is_said(subtests):
    for nothing in (None, FunctionLog(())):
        assert words(nothing, ID).evidence == {"log": "holds nothing of this run"}


def test_a_long_error_and_a_long_log_are_cut():
    found = said(START, f"[ERROR] ValueError: {'x' * 1000}", END, *["y" * 100] * 100, REPORT)
    assert len(found.sentence) < 330
    assert len(found.evidence["log_tail"].encode()) <= LOG_TAIL_BYTES
    assert tail(["é" * 4000]).count("é") == 2048
