"""The session report as a person sees it, in a real browser."""

from __future__ import annotations

import pytest

from pytest_fileflow.results.phases import slo_ends_after, total_seconds
from tests.support.browser import LAPTOP, PHONE, chromium, hard_to_read, listen, width
from tests.support.inner import flow


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser):
    with browser.new_context(viewport=LAPTOP) as context:
        yield context.new_page()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_report_shows_flows_and_their_details(suite, page):
    suite.add("flows/acme.json", flow("acme", validation={"expect_within_seconds": 60}))
    suite.add("flows/globex.json", flow("globex", "error", owner="<i>ops</i>"))
    suite.run_apart("flows", "--html=report.html", "--self-contained-html").assert_outcomes(passed=1, failed=1)
    said = listen(page)
    page.goto((suite.path / "report.html").as_uri())
    assert page.locator("th").filter(has_text="Latency / SLO").is_visible()
    row = page.locator("tr", has_text="acme.json::acme[4KiB]").first
    assert "S3->S3" in row.inner_text()
    assert "/ 60 s" in row.inner_text()
    details = page.locator(".fileflow").filter(has_text="trigger.function_error").first
    assert "<b>no</b> such partner" in details.inner_text()  # shown as text, not taken as markup
    assert "<i>ops</i>" in details.inner_text()
    bars = details.locator(".phases tr")
    assert [name.split()[0] for name in bars.all_inner_texts()][:2] == ["prepare", "seed"]
    stamp = details.get_by_text("seeded")
    assert not stamp.is_visible()
    details.locator("summary", has_text="Stamps").click()
    assert stamp.is_visible()
    assert said == []
    page.set_viewport_size(PHONE)
    assert width(page) == PHONE["width"]
    assert details.locator(".track").first.is_visible()
    background = "element => getComputedStyle(element).backgroundColor"
    light = details.evaluate(background)
    page.emulate_media(color_scheme="dark")
    assert details.evaluate(background) != light


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_timeline_is_to_scale_and_marks_the_slo(suite, page):
    rules = {"expect_within_seconds": 0.5, "grace_seconds": 10}
    suite.add("flows/acme.json", flow("acme", "slow", validation=rules))
    suite.run_apart("flows", "--html=report.html", "--self-contained-html").assert_outcomes(failed=1)
    (record,) = suite.records()
    assert record["cause"] == "late"
    page.goto((suite.path / "report.html").as_uri())
    row = page.locator(".fileflow .phases tr", has_text="wait")
    assert "SLO 0.5 s at the mark" in row.inner_text()
    track, bar, mark = (row.locator(f".{name}").bounding_box() for name in ("track", "bar", "slo"))
    whole, wait = total_seconds(record["timeline"]), record["phases_seconds"]["wait"]
    assert bar["width"] / track["width"] == pytest.approx(wait / whole, abs=0.02)
    ends = slo_ends_after(record["timeline"], 0.5)
    assert (mark["x"] - track["x"]) / track["width"] == pytest.approx(ends / whole, abs=0.02)
    checks = page.locator(".fileflow .checks tr").all_inner_texts()
    assert any("latency" in check and "✗ failed" in check for check in checks)
    assert any("size" in check and "✓ passed" in check for check in checks)
    page.set_viewport_size(PHONE)
    name, outcome = (page.locator(f".fileflow .checks td:nth-child({n})").first.bounding_box() for n in (1, 2))
    assert name["width"] > 20
    assert name["x"] + name["width"] <= outcome["x"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_report_of_four_workers_can_be_read_in_any_light(suite, page):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "drop"))
    suite.add("flows/initech.json", flow("initech", enabled=False))
    suite.run_apart("flows", "-n", "4", "--html=report.html", "--self-contained-html")
    page.goto((suite.path / "report.html").as_uri())
    page.get_by_text("Show all details").click()
    assert page.locator(".fileflow .phases").count() == 2
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for window in (LAPTOP, PHONE):
            page.set_viewport_size(window)
            assert width(page) == window["width"]
            assert hard_to_read(page) == []
