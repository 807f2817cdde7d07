"""Chromium, and what it opens."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from looking import Open, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "ECKART_CHROMIUM"
# Milliseconds: a page that takes longer hangs.
WAIT = 20_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """This machine's Chromium; the tests are skipped where there is none, or nothing to drive it with."""
    driver = pytest.importorskip("playwright.sync_api", reason='pip install -e ".[browser]" has what drives a browser')
    found = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"no {' or '.join(_NAMES)} was found on the PATH, nor a path to one in {CHROMIUM}")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Open]:
    """Open a file; see :class:`looking.Open`."""
    with contextlib.ExitStack() as windows:
        checked: list[Visit] = []

        def open_file(file: Path, *, bad: bool = False, **window: Any) -> Visit:
            context = browser.new_context(**window)
            windows.callback(context.close)
            context.set_default_timeout(WAIT)
            visit = Visit.of(context.new_page(), file)
            if not bad:
                checked.append(visit)
            return visit

        yield open_file
        for visit in checked:
            visit.check()
