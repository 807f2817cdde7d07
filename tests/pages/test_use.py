"""A visitor sorts, filters and chooses, by mouse and by keyboard, and the page does what the data say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from looking import Open, drawn, spoken, tab_stops
from pages import Pages
from strange_folders import CLOSING, IMAGE, LINK, PATH, SCRIPT, TEMPLATES, VEGA

from eckart.results.result import read_results

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

COLUMNS = {
    "method": "method",
    "rank": "rank",
    "seed": "seed",
    "Frobenius error": "relative_frobenius",
    "2-norm excess": "excess_2norm",
    "accuracy": "accuracy",
}


def shown(page: "Page") -> list[Path]:
    """Folders of the rows of the table, from top to bottom."""
    return [Path(text) for text in page.locator("#runs tbody td.folder").all_inner_texts()]


def known(value: Any) -> Any:
    # The page keeps seven digits.
    return float(f"{value:.7g}") if isinstance(value, float) else value


@pytest.mark.parametrize("heading", COLUMNS)
def test_a_click_on_a_heading_sorts(heading: str, pages: Pages, visit: Open) -> None:
    page = visit(pages("real")).page
    results = read_results(pages.folder("real"))
    head = page.get_by_role("columnheader", name=heading, exact=True)
    orders = []
    for direction in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        assert page.locator("#runs th[aria-sort]").count() == 1
        folders = shown(page)
        assert sorted(folders) == sorted(results)
        values = [known(results[folder][COLUMNS[heading]]) for folder in folders]
        orders.append([value for value in values if value is not None])
        # What has no value comes last, whichever way.
        assert None not in values[: len(orders[-1])]
    up, down = orders
    assert up == sorted(up) and down == sorted(down, reverse=True) and up[0] != up[-1]


def test_the_filter_leaves_what_was_asked_for(pages: Pages, visit: Open) -> None:
    page = visit(pages("real")).page
    results = read_results(pages.folder("real"))
    page.locator("#filter").fill("svd rank=1")
    expected = {f for f, result in results.items() if result["method"] == "svd" and result["rank"] == 1}
    assert set(shown(page)) == expected and len(expected) == 5
    assert "5 of 66" in page.locator("#shown").inner_text()
    page.locator("#filter").fill("nothing has this")
    assert shown(page) == []
    page.locator("#filter").fill("")
    assert len(shown(page)) == 66


def test_a_thousand_rows_come_in_parts_that_are_sorted_as_a_whole(pages: Pages, visit: Open) -> None:
    page = visit(pages("thousand")).page
    results = read_results(pages.folder("thousand"))
    page.get_by_role("columnheader", name="Frobenius error", exact=True).get_by_role("button").click()
    seen = shown(page)
    while page.get_by_role("button", name="Next page").is_enabled():
        page.get_by_role("button", name="Next page").click()
        seen += shown(page)
    assert len(seen) == len(set(seen)) == len(results) == 1000
    values = [known(results[folder]["relative_frobenius"]) for folder in seen]
    found = [value for value in values if value is not None]
    assert found == sorted(found)


def test_the_chooser_changes_the_pictures(pages: Pages, visit: Open) -> None:
    page = visit(pages("real")).page
    chooser = page.locator("#chooser")
    assert chooser.locator("option").count() >= 12
    pictures = page.locator("#pictures img")

    def look() -> tuple[list[str], list[str]]:
        images = pictures.all()
        # Each is decoded, not only there.
        assert all(
            image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") for image in images
        )
        return [str(i.get_attribute("src")) for i in images], [str(i.get_attribute("alt")) for i in images]

    first = look()
    assert len(first[0]) >= 1 and all(first[1])
    chooser.select_option(index=5)
    second = look()
    assert first[0] != second[0] and first[1] != second[1]
    name = chooser.locator("option").nth(5).inner_text()
    assert all(name in alternative for alternative in second[1])


def test_the_choice_of_data_changes_the_plots(pages: Pages, visit: Open) -> None:
    page = visit(pages("real")).page
    errors = page.locator("figure[data-plot=error-rank-frobenius]")

    def ranks() -> set[str]:
        labels = errors.locator("svg.marks g.role-axis-label text").all_text_contents()
        return {label for label in labels if label.isdigit()}

    drawn(page)
    assert ranks() == {"1", "2", "5", "10"}
    hidden = page.locator("figure[data-plot]:not(:visible)").count()
    page.locator("#data-choice").select_option("digits")
    page.wait_for_function(
        "document.querySelector('[data-plot=error-rank-frobenius] .plot').textContent.includes('32')"
    )
    marks = drawn(page)
    assert ranks() == {"2", "8", "32"}
    assert all(marks.values()) and "accuracy-rank" in marks, marks
    assert hidden > 0 and errors.locator(".legend li:visible").all_inner_texts() == ["classifier"]


def test_the_keyboard_reaches_everything(pages: Pages, visit: Open) -> None:
    # The page scrolls smoothly to what has the focus otherwise.
    page = visit(pages("real"), reduced_motion="reduce").page
    drawn(page)
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    stops = list(tab_stops(page, most=400))
    ids = [stop["id"] for stop in stops]
    assert {"filter", "chooser"} <= set(ids)
    headings = [stop["column"] for stop in stops if stop["column"]]
    assert headings == page.locator("#runs thead th:has(button)").all_inner_texts()
    assert [stop for stop in stops if not stop["seen"] or not stop["inside"]] == []


def test_the_keyboard_sorts_and_chooses(pages: Pages, visit: Open) -> None:
    page = visit(pages("real")).page
    results = read_results(pages.folder("real"))
    page.get_by_role("columnheader", name="rank", exact=True).get_by_role("button").focus()
    page.keyboard.press("Enter")
    ranks = [results[folder]["rank"] for folder in shown(page)]
    assert ranks == sorted(ranks)
    page.keyboard.press("Space")
    assert [results[folder]["rank"] for folder in shown(page)] == sorted(ranks, reverse=True)
    before = page.locator("#pictures img").first.get_attribute("alt")
    page.locator("#chooser").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#pictures img").first.get_attribute("alt") != before


def test_names_are_shown_as_text(pages: Pages, visit: Open) -> None:
    page = visit(pages("hostile")).page
    drawn(page)
    for button in page.get_by_role("button", name="Details of").all():
        button.click()
    text = page.locator("body").inner_text()
    for name in (SCRIPT, CLOSING, IMAGE, TEMPLATES, VEGA, PATH):
        assert name in text, name
    assert page.locator("script").count() == visit(pages("real")).page.locator("script").count()
    assert page.locator("img[onerror], img[src=x], [href^=javascript]").count() == 0
    assert LINK not in page.locator("a").evaluate_all("links => links.map(link => link.href)")


def test_what_cannot_be_read_has_a_line(pages: Pages, visit: Open) -> None:
    page = visit(pages("damaged")).page
    printed = pages.printed["damaged"]
    assert printed.returncode == 0 and "Traceback" not in printed.stderr
    text = page.locator("body").inner_text()
    for name in ("cut-result", "empty", "list", "other-program", "not-a-number", "binary", "deep", "run-cut.wandb"):
        assert name in text and name in printed.stderr + printed.stdout, name
    # The rest is shown.
    assert {"whole", "also-whole", "killed", "no-history"} <= {folder.name for folder in shown(page)}


def test_an_empty_folder_has_a_line(pages: Pages, visit: Open) -> None:
    page, printed = pages("empty"), pages.printed["empty"]
    law = f"There is no run below {pages.folder('empty')}."
    assert (printed.returncode, printed.stderr.strip()) == (1, law)
    assert law in visit(page).page.locator("main").inner_text()


@pytest.mark.parametrize("name", ["real", "foreign"])
def test_a_screen_reader_hears_names_in_order(name: str, pages: Pages, visit: Open) -> None:
    page = visit(pages(name)).page
    plots = list(drawn(page))
    said = spoken(page)

    def heard(*roles: str) -> list[str]:
        return [name for role, name in said if role in roles]

    headings = heard("heading")
    assert headings == page.locator("h1:visible, h2:visible, h3:visible, h4:visible").all_inner_texts()
    images = heard("img", "image")
    assert len(images) >= len(plots) and all(images)
    assert "All runs. A button in a heading sorts by its column." in heard("table")
    assert len(heard("columnheader")) >= page.locator("#runs thead th").count()
    assert all(heard("button", "combobox", "searchbox", "textbox"))
