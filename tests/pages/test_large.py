"""Ten thousand runs still open, and still answer."""

import pytest
from looking import Open, drawn
from pages import Pages

pytestmark = pytest.mark.large


def test_ten_thousand_runs_open(pages: Pages, visit: Open) -> None:
    page = visit(pages("ten_thousand")).page
    assert pages.printed["ten_thousand"].returncode == 0
    marks = drawn(page)
    assert len(marks) > 5 and all(marks.values()), marks
    assert "10,000 runs" in page.locator("#shown").inner_text()
    page.locator("#filter").fill("rank=13 svd")
    assert {"13"} == set(page.locator("#runs tbody td:nth-child(5)").all_inner_texts())
