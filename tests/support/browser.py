"""Debian's Chromium, and what is asked of a page that people read."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"width": 390, "height": 800}
LAPTOP = {"width": 1280, "height": 800}

# By WCAG 2.1: every visible text against the background that is nearest below it.
_LOW_CONTRAST = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let part = element; part; part = part.parentElement) {
      const colour = getComputedStyle(part).backgroundColor;
      const [, , , alpha = 1] = numbers(colour);
      if (alpha > 0) return colour;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (!text.length || !element.checkVisibility({ visibilityProperty: true }) || element.closest("noscript")) continue;
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(background(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${text[0].data.trim()}`);
  }
  return found;
}
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; a machine without it cannot run these tests."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "these tests need Chromium: install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


def listen(page: Page) -> list[str]:
    """Return a list to which all that the page says to its console will be added."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def hard_to_read(page: Page) -> list[str]:
    """Return the texts whose contrast is below 4.5."""
    found: list[str] = page.evaluate(_LOW_CONTRAST)
    return found


def width(page: Page) -> int:
    """Return how wide the page is, of which more than the window's width must be scrolled to."""
    found: int = page.evaluate("document.documentElement.scrollWidth")
    return found
