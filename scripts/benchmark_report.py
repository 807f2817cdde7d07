"""Time the page of sweeps of growing size: writing it by ``eckart report``, and opening it in Chromium."""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
# The generator of sweeps is beside the tests, which use it too.
sys.path.insert(0, str(ROOT / "tests"))
SIZES = (60, 1_000, 10_000)


class Opened(NamedTuple):
    """Seconds from the start of the navigation, and what went wrong."""

    first: float
    table: float
    every: float
    requests: int
    errors: int


def main() -> None:
    """Print one line for each size; the median of three openings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, action="append", help=f"runs of a sweep; {SIZES} unless given")
    parser.add_argument("--points", type=int, default=200, help="rows of each history (default: 200)")
    parser.add_argument("--keep", type=Path, help="folder to keep the sweeps and the pages in")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    found = os.environ.get("ECKART_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    heads = ("runs", "write s", "of CPU s", "size MB", "first plot s", "table s", "all plots s", "requests", "errors")
    print("".join(f"{head:>13}" for head in heads))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for runs in asked.runs or SIZES:
            folder = (asked.keep or Path(scratch)) / str(runs)
            page = folder.with_suffix(".html")
            seconds, busy = _written(folder, page, runs, asked.points)
            opened = sorted(_opened(browser, page) for _ in range(3))[1]
            numbers = [seconds, busy, page.stat().st_size / 1e6, opened.first, opened.table, opened.every]
            print(
                f"{runs:>13}{''.join(f'{n:>13.2f}' for n in numbers)}{opened.requests:>13}{opened.errors:>13}",
                flush=True,
            )
        browser.close()
    print(
        f"\nseconds of `eckart report`, and from the start of the navigation in Chromium; {asked.points} rows a history"
    )


def _written(folder: Path, page: Path, runs: int, points: int) -> tuple[float, float]:
    from sweeps import planned, plant

    if not folder.exists():
        plant(folder, planned(runs), points)
    command = [str(Path(sys.executable).with_name("eckart")), "report", str(folder), "--out", str(page)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, busy


def _opened(browser: "Browser", file: Path) -> Opened:
    window = browser.new_context(viewport={"width": 1280, "height": 900})
    page = window.new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    began = time.perf_counter()
    page.goto(file.resolve().as_uri(), wait_until="commit")
    page.locator("figure[data-plot] svg.marks").first.wait_for(timeout=120_000)
    first = time.perf_counter() - began
    page.locator("#runs tbody tr").first.wait_for(state="attached", timeout=120_000)
    table = time.perf_counter() - began
    for figure in page.locator("figure[data-plot]").all():
        if figure.is_visible():
            figure.scroll_into_view_if_needed()
            figure.locator("svg.marks").wait_for(timeout=120_000)
    every = time.perf_counter() - began
    window.close()
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    return Opened(first, table, every, len(outside), len(errors))


if __name__ == "__main__":
    main()
