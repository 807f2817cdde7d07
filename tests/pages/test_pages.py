"""Every page: nothing complains, everything is drawn, and it fits each window, theme, printer and reader."""

import re
from pathlib import Path

import pytest
from looking import Open, accessibility, drawn, faint_labels, overflow
from pages import Pages

pytestmark = pytest.mark.browser

EVERY = ("real", "thousand", "foreign", "hostile", "damaged")
# axe-core takes its time with a hundred rows, which look alike.
FEW = ("real", "foreign", "hostile", "damaged")
SEVERE = ("serious", "critical")
MEGABYTES = 15
# Five times what opening may take, so that only a hang fails.
MILLISECONDS = 10_000
SECONDS = 50


@pytest.mark.parametrize("name", EVERY)
def test_every_plot_is_drawn_and_nothing_complains(name: str, pages: Pages, visit: Open) -> None:
    marks = drawn(visit(pages(name)).page)
    assert all(marks.values()), marks
    assert len(marks) >= 1


@pytest.mark.parametrize("name", EVERY)
def test_a_phone_shows_the_whole_width(name: str, pages: Pages, visit: Open) -> None:
    page = visit(pages(name), viewport={"width": 360, "height": 640}, has_touch=True).page
    drawn(page)
    assert overflow(page) <= 0
    page.set_viewport_size({"width": 320, "height": 640})
    page.wait_for_timeout(300)
    assert overflow(page) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", FEW)
def test_everybody_can_read_it(name: str, scheme: str, pages: Pages, visit: Open) -> None:
    page = visit(pages(name), color_scheme=scheme).page
    drawn(page)
    assert [finding for finding in accessibility(page) if finding.impact in SEVERE] == []
    assert faint_labels(page) == []


def test_dark_is_dark(pages: Pages, visit: Open) -> None:
    light, dark = (
        visit(pages("real"), color_scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert light != dark


@pytest.mark.parametrize("name", ["real", "foreign"])
def test_print_shows_every_plot_without_scrolling(name: str, pages: Pages, visit: Open, tmp_path: Path) -> None:
    page = visit(pages(name), color_scheme="dark").page
    page.pdf(path=tmp_path / "page.pdf")
    figures = page.locator("figure[data-plot]:visible")
    assert figures.count() == page.locator("figure[data-plot]:visible:has(svg.marks)").count() > 0
    page.emulate_media(media="print")
    assert not page.locator("#filter").is_visible()
    # Paper is white, whatever the screen was.
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert max(map(int, re.findall(r"\d+", ink))) < 64


@pytest.mark.parametrize("name", EVERY)
def test_it_says_something_without_scripts(name: str, pages: Pages, visit: Open) -> None:
    page = visit(pages(name), java_script_enabled=False).page
    assert "JavaScript" in (page.locator("noscript").first.text_content() or "")
    assert page.locator("h1").count() == 1
    if name == "real":
        assert page.locator("h2").count() >= 4


def test_a_thousand_runs_are_one_light_file(pages: Pages, visit: Open) -> None:
    page = pages("thousand")
    assert page.stat().st_size < MEGABYTES * 1e6
    visit(page).page.locator("figure[data-plot] svg.marks").first.wait_for(timeout=MILLISECONDS)
