"""The last lines of a session: the table of runs, and the causes."""

from __future__ import annotations

import pytest

from pytest_fileflow.reporting.causes import NAMES, blocks
from pytest_fileflow.reporting.details import details
from pytest_fileflow.reporting.html import HtmlReport
from pytest_fileflow.reporting.terminal import notes, table
from pytest_fileflow.results.record import headline, properties, summary_text
from tests.support.inner import flow
from tests.test_reports import record

CHECK = {"name": "source.login", "outcome": "passed", "expected": "a login", "observed": "logged in"}
REFUSED = {"name": "target.write", "outcome": "failed", "expected": "may be written", "observed": "access denied"}


def probe(kind: str = "contract", **more: object) -> dict:
    """Return the record of a case that sends no file."""
    nothing = {
        "file": {"name": "", "size": 0, "sha256": ""},
        "latency_seconds": None,
        "latency_resolution_seconds": None,
    }
    return record(**{"kind": kind, "case": kind, "checks": [CHECK], **nothing, **more})


def failing(flow_id: str, cause: str = "late", **more: object) -> dict:
    return record(
        **{"flow_id": flow_id, "outcome": "failed", "cause": cause, "reason": "a sentence", "hint": "look", **more}
    )


def test_cases_without_a_file_have_no_share_of_the_slo_and_come_last():
    lines = table(
        [probe(flow_id="a"), record(flow_id="b"), probe(flow_id="c", outcome="failed", cause="access.denied")]
    )
    assert [line.split() for line in lines[1:]] == [
        ["failed", "c", "contract", "S3->SFTP", "-", "-", "-", "access.denied"],
        ["passed", "b", "4KiB", "S3->SFTP", "1.50", "s", "10", "s", "15.0", "%"],
        ["passed", "a", "contract", "S3->SFTP", "-", "-", "-"],
    ]


def test_a_narrow_terminal_is_spared_columns_and_no_name():
    records = [record(flow_id="f" * 30), failing("g", "missing.not_picked_up", latency_seconds=None)]
    whole = max(map(len, table(records)))
    assert max(map(len, table(records, whole))) == whole
    narrow = table(records, 80)
    assert max(map(len, narrow)) <= 80
    assert "f" * 30 in narrow[2]
    assert narrow[1].endswith("missing.not_picked_up")
    assert len(table(records, 10)) == len(narrow)


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("contract", "passed: the contract is kept (1 of 1 check passed)", "all that the flow needs is there"),
        ("canary", "passed: both ends answer (1 of 1 check passed)", "both ends answer"),
        ("rejects", "passed: it was refused as it must be (1 of 1 check passed)", "wrong_key is refused"),
    ],
)
def test_cases_without_a_file_have_words_of_their_own(kind, said, expected):
    case = "rejects-wrong_key" if kind == "rejects" else kind
    told = probe(kind, case=case)
    assert headline(told) == said
    text = summary_text(told)
    assert f"expected   {expected}" in text
    assert "0B" not in text
    assert " s at " not in text
    page = details(told)
    assert "✓ passed" in page
    for odd in ("0 bytes", "SLO", "nothing arrived", "<th>File</th>"):
        assert odd not in page
    assert not {"size", "slo_seconds", "latency_seconds"} & {name for name, _ in properties(told)}
    cells = ["result", "test", "duration", "links"]
    HtmlReport().pytest_html_results_table_row(type("Report", (), {"fileflow": {"record": told}}), cells)
    assert [cell.partition(">")[2].removesuffix("</td>") for cell in cells[2:5]] == ["S3-&gt;SFTP", "-", "-"]


def test_a_check_of_a_contract_that_failed_is_named():
    told = probe(outcome="failed", cause="access.denied", reason="no", hint="grant", checks=[CHECK, REFUSED])
    assert "  check      target.write: expected may be written, observed access denied\n" in summary_text(told)
    assert "  observed   1 of 2 checks passed\n" in summary_text(told)
    assert "✗ failed" in details(told)


def test_a_cause_is_one_block_however_many_runs_it_ended():
    records = [failing(f"flow{number:02}") for number in range(40)]
    records += [failing("other", "kms.denied", reason="the key " + "refused and " * 30, hint="policy " * 30)]
    records += [failing("ours", "tester.bug", outcome="error"), record()]
    late, denied, bug = blocks(reversed(records))
    assert (late.cause, late.number) == ("late", "40 runs")
    lines = late.lines(80)
    assert lines[0] == "  seen  flow00[4KiB]: a sentence"
    assert lines[1].startswith("  also  flow01[4KiB], flow02[4KiB]")
    assert f"and {39 - NAMES} more" in " ".join(" ".join(lines).split())
    assert lines[-1] == "  hint  look"
    assert "\n".join(lines).count("a sentence") == 1
    assert len(lines) < 10
    assert all(len(line) <= 60 for line in denied.lines(60))
    assert (denied.number, bug.cause) == ("1 run", "tester.bug")


def test_another_hint_for_the_same_cause_is_not_lost():
    assert [block.hint for block in blocks([failing("a", hint="one"), failing("b", hint="two")])] == ["one", "two"]


def test_names_and_locations_stay_whole_and_plain():
    uri = "s3://" + "a" * 120 + "/f.bin"
    (block,) = blocks([failing("acme", reason=f"\x1b[2Jsee {uri} now")])
    lines = block.lines(40)
    assert any(uri in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_the_session_ends_with_its_causes(suite, workers):
    suite.add(
        "flows/few.json", *(flow(f"good{number}") for number in range(3)), flow("bad1", "drop"), flow("bad2", "drop")
    )
    result = suite.run("flows", *workers)
    result.stdout.fnmatch_lines(
        [
            "missing.not_picked_up (2 runs)",
            "  seen  bad1?4KiB?: fileflow_*.bin did not",
            "  also  bad2?4KiB?",
            "  hint  See whether the transfer started at all: *",
            "",
            "3 of 5 runs passed",
        ]
    )


def test_colours_are_pytests_own_and_only_where_pytest_colours(suite):
    suite.add("flows/acme.json", flow("acme", "drop"), flow("globex"))
    shown = suite.run("flows", "--color=yes").stdout.str()
    assert "\x1b[31mfailed\x1b[0m" in shown
    assert "\x1b[32mpassed\x1b[0m" in shown
    assert "\x1b[31mmissing.not_picked_up\x1b[0m" in shown
    assert "\x1b" not in suite.run("flows", "--color=no").stdout.str()


def test_what_sends_no_file_is_counted_apart():
    records = [
        record(),
        failing("b"),
        *[probe()] * 3,
        probe("canary"),
        probe("rejects", outcome="failed", cause="late"),
    ]
    reports = [{"record": each, "where": ""} for each in records]
    assert notes(reports)[:2] == [
        "1 of 2 runs passed",
        "3 of 3 contracts kept, 1 of 1 canaries passed, 0 of 1 refusals held",
    ]
    assert notes(reports[2:5]) == ["3 of 3 contracts kept"]
