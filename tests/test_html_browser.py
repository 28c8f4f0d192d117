"""The session report as a person sees it, in a real browser."""

from __future__ import annotations

import shutil

import pytest

from tests.support.inner import flow

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def page():
    """Return a page of Debian's Chromium; a machine without it cannot run these tests."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "these tests need Chromium: install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser.new_page()
        browser.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_report_shows_flows_and_their_details(suite, page):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "error", owner="<i>ops</i>"))
    suite.run_apart("flows", "--html=report.html", "--self-contained-html").assert_outcomes(passed=1, failed=1)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((suite.path / "report.html").as_uri())
    assert page.locator("th").filter(has_text="Latency / SLO").is_visible()
    row = page.locator("tr", has_text="acme.json::acme[4KiB]").first
    assert "S3->S3" in row.inner_text()
    assert "/ 0.5 s" in row.inner_text()
    details = page.locator(".fileflow").filter(has_text="trigger.function_error").first
    assert "<b>no</b> such partner" in details.inner_text()  # shown as text, not taken as markup
    assert "<i>ops</i>" in details.inner_text()
    details.locator("summary", has_text="Timeline").click()
    assert details.get_by_text("seeded").is_visible()
    assert said == []
