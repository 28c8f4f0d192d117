"""The summary in Markdown, read as GitHub's own renderer shows it."""

from __future__ import annotations

import os
import re
import signal
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from pytest_fileflow.reporting.job_summary import MOST_BYTES
from pytest_fileflow.reporting.markdown import ROWS, Told, escaped, summary
from pytest_fileflow.reporting.others import Other
from tests.support.inner import flow
from tests.test_interrupts import LONG, invoked, start, until
from tests.test_reports import record

INVISIBLE = "\N{ZERO WIDTH SPACE}"
ELEMENTS = {
    "h2",
    "h3",
    "p",
    "strong",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "ul",
    "li",
    "br",
}
NASTY = [
    "a | b || c",
    "`code` ``more``",
    "<img src=x onerror=alert(1)> </td></details> <!-- no",
    "**bold** _slanted_ snake_case __init__ ~~gone~~",
    "[a](http://example.com) ![b](x) \\| \\\\",
    "$x$ &amp; &#124; @somebody #12 a!3",
    "1. # > - + = :smile:",
    "- see https://example.com or www.example.com",
    "# four",
]


class Page(HTMLParser):
    """What a reader sees: the elements, and the text of each cell, heading and list item."""

    def __init__(self, markdown: str):
        super().__init__()
        self.elements: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        self._open: str | None = None
        self.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag == "br":
            self.handle_data("\n")
        if tag in ("td", "th", "li", "h2", "h3", "summary", "pre"):
            self._open = tag
            self.texts.append((tag, ""))

    def handle_endtag(self, tag):
        if tag == self._open:
            self._open = None

    def handle_data(self, data):
        if self._open:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def of(self, tag: str) -> list[str]:
        return [text.strip().replace(INVISIBLE, "") for name, text in self.texts if name == tag]


def told(*records: dict, **more: object) -> Told:
    reports = [{"record": each, "where": "", "store_error": ""} for each in records]
    return Told(**{"reports": reports, "others": (), "notes": (), "troubles": (), "environment": "here", **more})


def shown(*records: dict, **more: object) -> Page:
    return Page(summary(told(*records, **more), MOST_BYTES))


def bad(**more: object) -> dict:
    words = {"cause": "missing.lost", "reason": "it did not arrive", "hint": "read its log"}
    return record(**{"outcome": "failed", "latency_seconds": None, **words, **more})


def test_the_verdict_comes_first_then_what_failed_then_the_rest_folded_away():
    own = bad(case="own", outcome="error", cause="tester.bug")
    page = shown(record(case="good"), bad(case="bad", owner="team"), own)
    assert page.texts[0] == ("h2", "✗ File flows: 1 failed, 1 not judged (the tester is at fault), 1 passed")
    assert page.of("h3") == ["What did not pass", "Notes"]
    ended = shown(bad(outcome="error", cause="tester.interrupted"), record(case="good"))
    assert ended.texts[0] == ("h2", "✗ File flows: 1 interrupted, 1 passed")
    rows = page.of("td")
    run_id = record()["run_id"]
    assert rows[0] == f"✗ acme\nbad\nowner: team\nrun {run_id}"
    assert rows[1] == "missing.lost\nit did not arrive\nLook first: read its log"
    assert rows[2:4] == [f"! acme\nown\nrun {run_id}", "tester.bug\nit did not arrive\nLook first: read its log"]
    assert rows[4:] == ["acme", "good", "S3->SFTP", "1.50 s", "10 s", "15.0 %"]
    assert page.of("summary") == ["1 passed"]
    assert page.of("li") == ["1 of 3 runs passed", "here"]


def test_where_all_is_well_there_is_nothing_but_the_fold_to_read():
    page = shown(record(), record(case="b"))
    assert page.texts[0] == ("h2", "✓ File flows: all 2 passed")
    assert page.of("h3") == ["Notes"]


def test_a_rehearsed_session_says_that_nothing_is_known_about_the_real_systems():
    text = summary(told(record(sandbox=True)), MOST_BYTES)
    assert "**In the sandbox**" in text.splitlines()[2]


def test_a_rerun_counts_by_its_last_attempt():
    page = shown(bad(attempt=1), record(attempt=2))
    assert page.texts[0] == ("h2", "✓ File flows: all 1 passed")
    assert "1 earlier attempt was repeated; the last one counts here" in page.of("li")


def test_configs_that_are_wrong_and_other_tests_are_named():
    others = (Other("flows/a.json::a[config]", "config.invalid: 1 problem in flows/a.json\nflows/a.json:3:1  $  x"),)
    page = shown(record(), others=(*others, Other("test_x.py::test_it", "assert 1 == 2")))
    assert page.texts[0] == ("h2", "✗ File flows: 1 not run (the config is wrong), 1 other tests failed, 1 passed")
    assert "config.invalid: 1 problem in flows/a.json flows/a.json:3:1 $ x" in page.of("td")


def test_what_could_not_be_done_stands_before_the_other_notes():
    reports = [{"record": record(), "where": "", "store_error": "no space"}]
    page = shown(reports=reports, notes=("a note",), troubles=("NO METRICS",))
    assert page.of("li") == ["NO METRICS", "NOT RECORDED no space", "1 of 1 runs passed", "a note", "here"]


@pytest.mark.parametrize("text", NASTY)
def test_whatever_names_and_messages_hold_is_shown_as_it_is(text):
    record_of = bad(flow_id=text, reason=text, owner=text, hint=text, case=text)
    page = shown(record_of, record(case="good"), others=(Other(text, text),), notes=(text,), troubles=(text,))
    assert page.elements <= ELEMENTS
    run_id = record_of["run_id"]
    words = [f"✗ {text}\n{text}\nowner: {text}\nrun {run_id}", f"missing.lost\n{text}\nLook first: {text}"]
    assert page.of("td")[:4] == [*words, text, text]
    assert page.of("li")[:3] == [text, "1 of 2 runs passed", text]


def test_a_line_break_or_a_terminal_s_code_ends_no_cell():
    page = shown(bad(reason="one\ntwo | three\x1b[31m\r\n\n# four"))
    assert page.of("td")[1] == "missing.lost\none two | three\\x1b[31m # four\nLook first: read its log"


def test_nobody_is_mentioned_and_no_issue_referred_to():
    text = escaped("mail a@b, @team, #12 and group/project!3").replace("&#8203;", INVISIBLE)
    assert text.count(INVISIBLE) == 4
    assert re.search(r"[@#!]\w", text) is None


def test_a_rehearsal_is_summed_up_by_its_table():
    def rehearsed(fault: str, must_be: str | None, cause: str | None) -> dict:
        kept = {"rehearsal": {"flow_id": "acme", "fault": fault, "must_be": must_be}, "kind": "transfer"}
        return record(flow_id=f"acme--{fault}", cause=cause, reason="seen", sandbox=True, **kept)

    page = shown(rehearsed("nothing", None, None), rehearsed("drop", "missing.lost", "missing.lost"), faults=())
    assert page.texts[0] == ("h2", "✓ Rehearsal in the sandbox: 2 of 2 are as they must be")
    (table,) = page.of("pre")
    assert "caught  acme  drop     missing.lost" in table
    page = shown(rehearsed("drop", "missing.lost", "late"), faults=("drop", "crlf"))
    assert page.texts[0] == ("h2", "✗ Rehearsal in the sandbox: 0 of 1 are as they must be")
    assert page.of("li")[0].startswith("NOT REHEARSED crlf")


def test_a_summary_that_would_be_too_large_has_fewer_rows():
    many = [bad(flow_id=f"flow-{number}", reason="|" * 2000, hint="`" * 2000) for number in range(ROWS)]
    text = summary(told(*many), MOST_BYTES)
    assert MOST_BYTES / 4 < len(text.encode()) <= MOST_BYTES
    assert re.search(r"^and \d+ more$", text, re.MULTILINE)
    assert text.startswith(f"## ✗ File flows: {ROWS} failed\n")
    assert summary(told(*many), 100) is None


def test_it_is_written_once_however_many_workers(suite, monkeypatch, workers):
    github = suite.path / "github.md"
    github.write_text("## an earlier command's\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(github))
    suite.add("flows/acme.json", flow("acme", validation=LONG))
    suite.add("flows/broken.json", {**flow("broken"), "sorce": {}})
    result = suite.run("flows", "--fileflow-summary", "out/summary.md", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["summary: *summary.md"])
    text = (suite.path / "out/summary.md").read_text()
    assert text.startswith("## ✗ File flows: 1 not run (the config is wrong), 1 passed\n")
    assert "config.invalid: 1 problem" in text
    assert github.read_text() == f"## an earlier command's\n{text}"


def test_a_suite_of_which_no_flow_could_be_run_is_told_too(suite):
    suite.add("flows/broken.json", {**flow("broken"), "sorce": {}})
    suite.run("flows", "--fileflow-summary", "s.md").assert_outcomes(failed=1)
    text = (suite.path / "s.md").read_text()
    assert text.startswith("## ✗ File flows: 1 not run (the config is wrong)\n")


def test_github_s_file_is_left_alone_where_there_are_no_flows_or_it_is_full(suite, monkeypatch):
    github = suite.path / "github.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(github))
    suite.pytester.makepyfile("def test_it(): pass")
    suite.run("--fileflow-summary", "summary.md").assert_outcomes(passed=1)
    assert not github.exists()
    assert not (suite.path / "summary.md").exists()
    github.write_text("x" * (MOST_BYTES - 10))
    suite.add("flows/acme.json", flow("acme", validation=LONG))
    result = suite.run("flows")
    result.stdout.fnmatch_lines(["SUMMARY NOT WRITTEN *github.md: it is full: *"])
    assert github.stat().st_size == MOST_BYTES - 10


def test_a_file_that_cannot_be_written_is_a_line_and_changes_no_verdict(suite):
    (suite.path / "taken").write_text("a file, not a folder")
    suite.pytester.makeini("[pytest]\nfileflow_summary = taken/summary.md")
    suite.add("flows/acme.json", flow("acme", validation=LONG))
    result = suite.run("flows")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["SUMMARY NOT WRITTEN *taken*: *"])


def test_what_x_ended_is_told_and_github_s_own_file_is_written_once(suite, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "github.md"))
    suite.add("flows/lost.json", flow("lost", "error"))
    suite.add("flows/z_long.json", flow("z_long", "drop", validation=LONG))
    suite.run("flows", "-x", "--fileflow-summary", str(suite.path / "github.md")).assert_outcomes(failed=1)
    text = (suite.path / "github.md").read_text()
    assert text.startswith("## ✗ File flows: 1 failed")
    assert text.count("## ✗") == 1


def test_a_session_that_is_interrupted_leaves_its_summary(suite, monkeypatch):
    suite.add("flows/long.json", flow("long", "drop", validation=LONG))
    monkeypatch.setenv("FILEFLOW_LEFT", str(suite.path))
    process = start(suite, "--fileflow-summary=s.md")
    until(lambda: invoked(suite.path) == 1, "the flow under way")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    text = (suite.path / "s.md").read_text()
    assert text.startswith("## ✗ File flows: 1 interrupted\n"), output
    assert "tester.interrupted" in text
