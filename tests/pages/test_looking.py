"""What the tests of pages look for is found on a page that has it."""

from pathlib import Path

import pytest
from looking import Open, accessibility, drawn, faint_labels, overflow, tab_stops

pytestmark = pytest.mark.browser

BAD = """<!doctype html><meta charset="utf-8"><title>Bad</title>
<div style="width: 900px; background: #eee; color: #ddd">faint</div>
<figure data-plot="a"><svg class="marks"><g class="mark-symbol role-mark"><path d="M0,0"/><path d="M1,1"/></g>
<text y="20" fill="#ddd">pale</text><text y="40" fill="#222">dark</text></svg></figure>
<figure data-plot="b"><svg></svg><svg class="marks"></svg></figure>
<input id="first"><button id="second" style="outline: none">Go</button>
<img src="http://127.0.0.1:9/picture.png">
<script>console.error("oh"); alert("hello"); setTimeout(() => { throw new Error("late"); });</script>
"""
GOOD = (
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>Good</title><main><h1>Good</h1><p>Text.</p></main>"""
)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.html"
    file.write_text(BAD, encoding="utf-8")
    return file


def test_complaints_and_requests_are_kept(bad: Path, visit: Open) -> None:
    found = visit(bad, bad=True)
    found.page.wait_for_timeout(100)
    assert {"console error: oh", "dialog: hello", "error: late"} <= set(found.complaints)
    assert found.requests == ["http://127.0.0.1:9/picture.png"]
    with pytest.raises(AssertionError, match="oh"):
        found.check()


def test_what_is_seen(bad: Path, visit: Open) -> None:
    page = visit(bad, bad=True, viewport={"width": 320, "height": 600}).page
    assert overflow(page) > 500
    assert drawn(page) == {"a": 2, "b": 0}
    assert [label.partition(":")[0] for label in faint_labels(page)] == ["pale"]
    assert [(stop["id"], stop["seen"]) for stop in tab_stops(page)] == [("first", True), ("second", False)]


def test_axe_finds_what_is_wrong_and_nothing_else(bad: Path, visit: Open, tmp_path: Path) -> None:
    found = {finding.rule: finding.impact for finding in accessibility(visit(bad, bad=True).page)}
    assert found["image-alt"] == "critical" and found["color-contrast"] == "serious"
    good = tmp_path / "good.html"
    good.write_text(GOOD, encoding="utf-8")
    assert accessibility(visit(good).page) == []
