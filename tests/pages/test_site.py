"""The documentation site: built without a warning, and read in Chromium from a file, without a network."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from looking import Open, accessibility, overflow

ROOT = Path(__file__).parents[2]
PHONE, DESK = {"viewport": {"width": 390, "height": 844}}, {"viewport": {"width": 1280, "height": 900}}
pytestmark = pytest.mark.site


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the site; what was built before and has not changed is not built again."""
    pytest.importorskip("sphinx", reason='pip install -e ".[docs]" has what builds the site')
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        building = importlib.import_module("build_site")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    # Ends with what is wrong, if there is a warning, a name that is missing, or a broken link.
    first: Path = building.build(building.SITE)
    return first.parent


def test_every_page_fits_a_phone_and_a_desk_and_loads_nothing_from_elsewhere(site: Path, visit: Open) -> None:
    pages = sorted(path for path in site.rglob("*.html") if not {"_downloads", "_static"} & set(path.parts))
    assert len(pages) > 50
    wide = []
    for window in (PHONE, DESK):
        opened = visit(pages[0], bad=True, **window)
        for page in pages:
            opened.page.goto(page.as_uri())
            if overflow(opened.page):
                wide.append(f"{page.relative_to(site)} at {window['viewport']['width']}")
        assert not opened.complaints, opened.complaints
        assert all(address.startswith("file:") for address in opened.requests)
    assert not wide, wide


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("truncated_svd", "api/linalg.html"),
        ("orthogonal probes", "optimum.html"),
        ("method=bottleneck", "method.html"),
        ("own matrix", "/matrix.html"),
        ("my own data", "/matrix.html"),
        ("save factors", "/matrix.html"),
        ("pandas", "/matrix.html"),
        ("missing values", "/(matrix|completion).html"),
        ("LinearOperator", "/operator.html"),
    ],
)
def test_search_finds_pages_of_a_site_that_is_opened_from_disk(
    site: Path, visit: Open, words: str, expected: str
) -> None:
    opened = visit(site / "index.html", bad=True, **PHONE)
    found = opened.page
    found.goto(f"{(site / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
    found.wait_for_function("document.querySelectorAll('#search-results li').length > 0")
    found.wait_for_timeout(500)
    addresses = found.eval_on_selector_all("#search-results a", "links => links.map(link => link.href)")
    assert any(re.search(expected, address) for address in addresses[:3]), addresses[:10]
    assert not opened.complaints, opened.complaints


@pytest.mark.parametrize("page", ["index.html", "concepts.html", "configuration/method.html", "gallery/index.html"])
def test_pages_can_be_used_by_everybody(site: Path, visit: Open, page: str) -> None:
    found = accessibility(visit(site / page, bad=True, **DESK).page)
    assert not [finding for finding in found if finding.impact in ("serious", "critical")], found
