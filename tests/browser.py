"""Pages in a real browser, without a network: what they show, and what they complain about."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# In a container there is no right to make the sandbox; none of the rest calls home.
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
PHONE, DESKTOP = (390, 844), (1280, 900)


def chromium() -> str | None:
    """The browser of this machine: that of EMBEDFREEZE_BROWSER, or one on the path."""
    named = os.environ.get("EMBEDFREEZE_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium; the test is skipped on a machine that has none."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: install one, or name it in EMBEDFREEZE_BROWSER")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield found
        finally:
            found.close()


def bad(said: ConsoleMessage) -> bool:
    return said.type in {"error", "warning"}


@dataclass
class Opened:
    """A page, and what went wrong on it so far."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # requests that would have left this machine

    def picture(self, path: Path) -> Path:
        """A screenshot of the whole page."""
        self.page.screenshot(path=path, full_page=True)
        return path


@contextmanager
def opened(
    browser: Browser,
    url: str,
    size: tuple[int, int] = DESKTOP,
    *,
    dark: bool = False,
    javascript: bool = True,
) -> Iterator[Opened]:
    """A page at a size, light or dark; requests to other machines are refused and kept."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
    )
    found = Opened(context.new_page())

    def route(asked: Route, request: Request) -> None:
        if urlsplit(request.url).hostname in (None, "", "localhost", "127.0.0.1"):
            asked.continue_()
        else:
            found.left.append(request.url)
            asked.abort()

    found.page.route("**/*", route)
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("console", lambda said: found.complaints.append(said.text) if bad(said) else None)
    try:
        found.page.goto(url)
        yield found
    finally:
        context.close()
