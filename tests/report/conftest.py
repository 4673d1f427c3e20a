"""Pages in Chromium, for the tests marked `browser`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESK = 390, 1280
"""Widths of a window in pixels."""


@dataclass
class Opened:
    """A page in a window, with all it has said and asked for."""

    page: Page
    messages: list[str] = field(default_factory=list)
    """What the console shows, and uncaught errors."""
    requests: list[str] = field(default_factory=list)
    """Addresses that the page has asked for, its own and those of its pictures excepted."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=picture.browser(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Callable[..., Opened]]:
    """Open a file in a window of its own; width in pixels, dark mode and scripts are options."""
    contexts = []

    def load(path: Path, *, width: int = DESK, dark: bool = False, scripts: bool = True) -> Opened:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        contexts.append(context)
        own = path.resolve().as_uri()
        made = Opened(context.new_page())
        made.page.on("console", lambda message: made.messages.append(message.text))
        made.page.on("pageerror", lambda error: made.messages.append(str(error)))
        made.page.on(
            "request",
            lambda request: (
                None
                if request.url == own or request.url.startswith("data:")
                else made.requests.append(request.url)
            ),
        )
        made.page.goto(own)
        return made

    yield load
    for context in contexts:
        context.close()
