"""The page of a history as a person sees it, in a real browser."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clock import Clock
from pytest_fileflow.reporting.page import page as made_page
from pytest_fileflow.results.history import History
from tests.support.browser import LAPTOP, PHONE, chromium, hard_to_read, listen, width
from tests.support.records import NOW, ago, record
from tests.support.sandbox_tools import eventually

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<img src=x onerror=alert(1)>\u202e</script><script>alert(2)</script>"
LONG = "a_very_long_name_" * 15
# Keeps what charts write, and where, by their flows.
WRITTEN = """
window.written = {};
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const half = this.measureText(text).width / 2;
  const told = { text, y, left: x - half, right: x + half, width: this.canvas.width, align: this.textAlign };
  const all = (window.written[this.canvas.closest("details.flow").id] ??= []);
  if (!all.some((one) => one.text === text && one.left === told.left && one.y === y)) all.push(told); // drawn again
  return write.call(this, text, x, y);
};
"""


def put(folder: Path, *records: dict) -> None:
    for number, each in enumerate(records):
        path = folder / "results" / "dt=2026-11-26" / f"flow_id=x{number}-{len(records)}" / f"run_id={each['run_id']}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "run.json").write_text(json.dumps(each))


def records() -> list[dict]:
    """Return twelve days of some flows, of which two fail, one could not be tested and one did not run."""
    found = []
    for day in range(12, 0, -1):
        began = ago(days=day - 1, hours=1)
        smoke = {
            "slo_seconds": 60.0,
            "owner": "ops",
            "tags": ["critical"],
            "outcome": "failed" if day == 1 else "passed",
        }
        found += [
            record("globex", began, latency_seconds=12.5 + day, slo_seconds=60.0, tags=["critical"], owner="ops"),
            record("globex", began + timedelta(minutes=1), case="smoke", run_id=f"globex{day}", **smoke),
            record("acme", began, latency_seconds=3.0 + day / 10),
            record("contracts", began, kind="contract", case="contract", latency_seconds=None, owner=""),
        ]
    late = {"outcome": "failed", "cause": "late", "reason": "arrived 66 s after the trigger", "latency_seconds": 66.0}
    evidence = {"log_tail": "START\nEND", HOSTILE: HOSTILE}
    return [
        *found,
        record("delta", ago(days=2), owner="ops", slo_seconds=60.0, run_id="delta-0"),
        record("delta", ago(hours=3), owner="ops", slo_seconds=60.0, run_id="delta-1", evidence=evidence, **late),
        record("epsilon", ago(hours=30), "failed", kind="contract", run_id="epsilon-0"),
        record("epsilon", ago(hours=28), kind="contract"),
        record("epsilon", ago(hours=2), "error", cause="tester.credentials", run_id="epsilon-1"),
        record("stale", ago(days=6)),
        record("stale", ago(days=5)),
        record(
            *(HOSTILE, ago(hours=4)),
            **dict.fromkeys(("owner", "description", "case", "direction"), HOSTILE),
            tags=[HOSTILE, LONG],
            run_id="hostile-1",
        ),
        record(LONG, ago(hours=4), description=LONG, case=LONG, owner="ops"),
    ]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Return the file of a page that was made at NOW."""
    folder = tmp_path_factory.mktemp("page")
    put(folder / "place", *records())
    place = str(folder / "place")
    history = History.open(place, lambda: pytest.fail("nothing is in S3"), clock=Clock(utc=lambda: NOW))
    path = folder / "report-history.html"
    path.write_text(made_page(history, [place], ago(days=29)))
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser, html):
    """Return the page, opened five hours after it was made; what it says to the console must be nothing."""
    with browser.new_context(viewport=LAPTOP) as context:
        opened = context.new_page()
        opened.clock.set_fixed_time(NOW + timedelta(hours=5))
        said = listen(opened)
        opened.goto(html.as_uri())
        yield opened
        assert said == []


def names(page) -> list[str]:
    """Return the flows that are shown, from the top."""
    return page.locator("ol.flows > li:visible h2").all_inner_texts()


def flow(page, name: str):
    return page.locator("details.flow").filter(has=page.get_by_role("heading", name=name, exact=True))


def fits(chart, width: int) -> None:
    """Wait until a chart is nearly as wide as the window, and not wider: it is drawn anew when that changes."""
    eventually(lambda: (box := chart.bounding_box()) and 0.7 < box["width"] / width < 1)


def test_what_fails_comes_first_and_is_counted(page):
    assert page.locator("h1").inner_text() == "2 of 8 flows fail, 1 could not be tested, 1 did not run"
    assert page.title() == page.locator("h1").inner_text()
    assert names(page)[:4] == ["globex", "delta", "epsilon", "stale"]
    counts = page.get_by_role("list", name="Flows by state").get_by_role("button").all_inner_texts()
    assert [" ".join(count.split()) for count in counts] == [
        "2 ✗ failing",
        "1 ! not tested",
        "1 ◌ no run",
        "4 ✓ passing",
    ]
    told = page.locator(".meta").inner_text()
    for text in ("Made 26 Nov 2026, 06:30", "/place", "57 runs of 8 flows", "since 28 Oct 2026"):
        assert text in told
    row = flow(page, "globex").locator("summary").first
    for text in ("✗ failing", "missing.not_picked_up", "first time, ", "was not seen within 30 s", "ops", "critical"):
        assert text in row.inner_text()
    strip = row.get_by_role("img")
    assert strip.get_attribute("aria-label") == "30 days: 11 all passed, 1 with a failure, 18 without a run"
    cells = strip.locator("i")
    assert cells.count() == 30
    assert cells.last.get_attribute("title") == "26 Nov: 1 passed, 1 failed, missing.not_picked_up"
    heights = [cells.nth(number).bounding_box()["height"] for number in (0, 20, 29)]  # no run, passed, failed
    assert heights == sorted(set(heights))
    assert "last ran 5 days ago" in flow(page, "stale").inner_text()
    assert not page.locator(".old").is_visible()


def test_a_flow_opens_with_its_chart_and_its_runs(page):
    assert page.locator("canvas").count() == 0  # drawn when they are looked at
    globex = flow(page, "globex")
    globex.locator("summary").first.click()
    words = "Latency of 24 transfers: last 13.50 s, p50 13.50 s, p95 23.40 s, SLO 60 s; 1 of those shown failed."
    globex.locator("canvas").wait_for()
    assert globex.locator("figcaption").inner_text() == words
    chart = globex.get_by_role("img", name=words)
    box = chart.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    labels, values = (chart.locator(f".u-series {cell}").all_inner_texts() for cell in ("th", "td"))
    legend = dict(zip(labels, values, strict=True))
    assert legend == {
        "UTC": "2026-11-15 05:30",
        "typical-5MiB": "24.5 s",
        "smoke": "3.2 s",
        "p95 of the day": "23.4 s",
        "SLO": "60 s",
    }
    run = page.locator("#globex1")
    assert not run.locator(".fileflow").is_visible()
    run.locator("summary").first.click()
    told = run.inner_text()
    for text in ("missing.not_picked_up", "Look first: Look at the transfer's own log.", "Timeline, ", "wait"):
        assert text in told
    assert run.locator(".phases .bar.cut").is_visible()
    run.get_by_text("Evidence").click()
    assert "b4c0f5a6-8d7e" in run.inner_text()
    checks = globex.locator(".checks").first
    assert "✓ passed" in checks.text_content()


def test_a_cause_has_the_colour_of_its_own_run(page):
    flow(page, "epsilon").locator("summary").first.click()
    said = [page.locator(f"#epsilon-{number} .said") for number in (0, 1)]
    colours = [each.evaluate("element => getComputedStyle(element).color") for each in said]
    assert colours == ["rgb(207, 34, 46)", "rgb(154, 103, 0)"]


@pytest.mark.parametrize("window", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_words_below_a_chart_are_apart_and_whole_however_short_its_time_is(browser, tmp_path, window):
    spans = {"seconds": 3, "a_minute": 9, "minutes": 40, "hours": 1500, "days": 86400}
    put(tmp_path, *(record(name, ago(seconds=step * number)) for name, step in spans.items() for number in range(10)))
    put(tmp_path, record("once"))
    history = History.open(str(tmp_path), lambda: pytest.fail("nothing is in S3"), clock=Clock(utc=lambda: NOW))
    path = tmp_path / "page.html"
    path.write_text(made_page(history, ["place"], ago(days=29)))
    with browser.new_context(viewport=window) as context:
        page = context.new_page()
        page.add_init_script(WRITTEN)
        page.goto(path.as_uri())
        for name in (*spans, "once"):
            flow(page, name).locator("summary").first.click()
            page.wait_for_function("name => written[name]?.some((each) => each.text.startsWith('SLO'))", arg=name)
            written = page.evaluate("name => written[name]", name)
            below = [each for each in written if each["align"] == "center"]
            first = sorted((each for each in below if each["y"] == below[0]["y"]), key=lambda each: each["left"])
            assert len(first) >= 2, name
            assert len({each["text"] for each in first}) == len(first), name
            assert all(one["right"] < other["left"] for one, other in itertools.pairwise(first)), name
            assert first[0]["left"] >= 0, name
            assert all(each["right"] <= each["width"] for each in below), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_is_drawn_in_the_colours_of_the_scheme(page, scheme):
    drawn = """(names) => {
      const canvas = document.querySelector("canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const probe = document.body.appendChild(document.createElement("i"));
      return names.map((name) => {
        probe.style.color = `var(${name})`;
        const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
        let found = 0;
        for (let at = 0; at < pixels.length; at += 4)
          found += wanted.every((part, index) => Math.abs(pixels[at + index] - part) < 24);
        return found;
      });
    }"""
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    flow(page, "globex").locator("summary").first.click()
    page.locator("canvas").evaluate("canvas => { canvas.dataset.first = 1; }")
    page.emulate_media(color_scheme=scheme)  # while it is open
    page.locator("canvas:not([data-first])").wait_for()
    cases, cross, slo = ("--line-1", "--line-2"), "--bad", "--text"
    assert min(page.evaluate(drawn, [*cases, cross, slo])) > 5


def test_a_flow_that_is_opened_again_has_a_chart_of_the_width_there_is_now(page):
    globex = flow(page, "globex")
    for window in (LAPTOP, PHONE):
        page.set_viewport_size(window)
        globex.locator("summary").first.click()
        fits(globex.locator("canvas"), window["width"])
        globex.locator("summary").first.click()
        globex.locator("canvas").wait_for(state="hidden")


def test_finding_by_text_state_owner_and_tag(page):
    find = page.get_by_role("searchbox", name="Find")
    find.fill("OPS late")
    assert names(page) == ["delta"]
    assert page.locator("output").inner_text() == "1 of 8 flows"
    find.fill("no such flow")
    assert names(page) == []
    page.get_by_role("button", name="Show all flows").click()
    assert len(names(page)) == 8
    page.get_by_role("button", name="failing").click()
    page.get_by_role("button", name="no run").click()
    assert names(page) == ["globex", "delta", "stale"]
    assert page.get_by_role("button", name="failing").get_attribute("aria-pressed") == "true"
    page.get_by_label("Owner").select_option("ops")
    assert names(page) == ["globex", "delta"]
    page.get_by_label("Tag").select_option("critical")
    assert names(page) == ["globex"]
    page.get_by_label("Tag").select_option("")
    page.get_by_role("button", name="missing.not_picked_up").click()  # a cause, of all flows
    assert names(page) == ["globex"]


def test_sorting(page):
    sort = page.get_by_label("Sort")
    by_rank = names(page)
    sort.select_option("by name")
    assert names(page)[2:] == ["acme", "contracts", "delta", "epsilon", "globex", "stale"]
    sort.select_option("slowest against SLO")
    assert names(page)[:2] == ["delta", "globex"]
    sort.select_option("newest run")
    assert names(page)[0] == "globex"
    sort.select_option("least successful")
    assert names(page)[:2] == ["delta", "globex"]
    sort.select_option("worst first")
    assert names(page) == by_rank


def test_it_works_by_keyboard(page):
    page.keyboard.press("/")
    page.keyboard.type("globex")
    assert names(page) == ["globex"]
    page.keyboard.press("Escape")
    assert len(names(page)) == 8
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    flow(page, "globex").locator("canvas").wait_for()
    outline = (
        "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle"
    )
    assert page.evaluate(outline) == "solid"


def test_a_link_opens_what_it_names(page, html):
    page.goto("about:blank")
    page.goto(f"{html.as_uri()}#globex7")
    run = page.locator("#globex7 .fileflow")
    assert run.is_visible()
    assert run.evaluate("element => element.getBoundingClientRect().top < innerHeight")
    page.get_by_role("searchbox", name="Find").fill("acme")
    page.evaluate("location.hash = 'delta'")
    page.locator("#delta canvas").wait_for()
    page.locator("#delta").get_by_role("link", name="link to this flow").click()
    assert page.url.endswith("#delta")


def test_names_and_messages_are_text(page):
    seen = []
    page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    name = HOSTILE.replace("\u202e", "\\u202e")
    hostile = flow(page, name)
    hostile.locator("summary").first.click()
    hostile.locator("canvas").wait_for()
    assert name in hostile.locator(".u-legend").inner_text()
    hostile.get_by_role("link", name="link to this flow").click()
    page.locator("#hostile-1 summary").first.click()
    assert name in page.locator("#hostile-1 .facts").inner_text()
    page.get_by_label("Owner").select_option(name)
    assert names(page) == [name]
    page.get_by_label("Tag").select_option(name)
    assert names(page) == [name]
    assert page.locator("img, script[src]").count() == 0
    assert "\u202e" not in page.content()
    assert seen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_and_a_laptop(page, scheme):
    page.emulate_media(color_scheme=scheme)
    for name in ("globex", "delta", "stale", LONG):
        flow(page, name).locator("summary").first.click()
    for run in ("globex1", "globex2"):
        page.locator(f"#{run} summary").first.click()
    page.get_by_role("button", name="failing").hover()
    for window in (LAPTOP, PHONE):
        page.set_viewport_size(window)
        assert width(page) == window["width"]
        assert hard_to_read(page) == []
        fits(flow(page, "globex").locator("canvas"), window["width"])


def test_on_paper_it_is_dark_on_white_without_controls(page):
    page.emulate_media(color_scheme="dark", media="print")
    assert not page.locator("form").is_visible()
    assert page.locator("h1").evaluate("element => getComputedStyle(element).color") == "rgb(31, 35, 40)"


def test_an_old_page_says_so(page, html):
    page.clock.set_fixed_time(NOW + timedelta(days=3))
    page.goto(html.as_uri())
    assert page.locator(".old").inner_text() == "This page is 3 days old: it does not show today."


def test_without_scripts_it_is_an_overview(browser, html):
    with browser.new_context(viewport=LAPTOP, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(html.as_uri())
        assert names(page)[0] == "globex"
        assert "arrived 66 s after the trigger" in flow(page, "delta").inner_text()
        assert not page.locator("form").is_visible()
        assert page.get_by_text("Without scripts").is_visible()


@dataclass(frozen=True)
class ArtifactStore:
    """Where the page lies: an HTTP server that forbids what is not in the page itself."""

    address: str
    asked: list[str]


@pytest.fixture
def store(html):
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header(
                "Content-Security-Policy",
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:",
            )
            super().end_headers()

        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=html.parent))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield ArtifactStore(f"http://127.0.0.1:{server.server_port}/{html.name}", asked)
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_request_leaves_the_page(browser, store):
    with browser.new_context(viewport=LAPTOP) as context:
        page = context.new_page()
        said, asked = listen(page), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(store.address)
        for name in ("globex", "delta"):
            flow(page, name).locator("summary").first.click()
            flow(page, name).locator("canvas").wait_for()
        page.get_by_role("searchbox", name="Find").fill("globex")
        assert [url for url in asked if not url.startswith("data:")] == [store.address]
        assert store.asked == ["/report-history.html"]
        assert said == []
