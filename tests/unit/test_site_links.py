"""Links that lead nowhere are found, in a site and in Markdown; the pages of this checkout have none."""

import doctest
import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
site_links = importlib.import_module("site_links")
sys.path.remove(str(ROOT / "scripts"))


def test_the_examples_of_its_docstrings() -> None:
    assert doctest.testmod(site_links).failed == 0


def test_links_between_the_pages_of_this_checkout_lead_somewhere() -> None:
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    # These are on the site, where the menu and the pages that they include are.
    found = site_links.broken_in_markdown(path for path in files if path.name not in ("index.md", "contributing.md"))
    assert len(files) > 20 and not found, found


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^(?:.* <)?(\w+)>?$", menu, re.MULTILINE))
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= listed, f"docs/index.md must list every page. Found none of {sorted(pages - listed)}."


def test_a_link_of_markdown_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# A title: `code`, x_y\n\n## 4. Fewer images\n\n```\n# no heading\n```\n")
    (tmp_path / "a.md").write_text(
        "[1](b.md) [2](b.md#a-title-code-x_y) [3](b.md#4-fewer-images) [4](https://example.org/x) `[5](no.md)`\n"
        "[6](no.md) ![7](no.png) [8](b.md#no-heading) [9](#none)\n\n```\n[10](code.md)\n```\n"
    )
    assert site_links.broken_in_markdown([tmp_path / "a.md"]) == [
        *("a.md: no.md", "a.md: no.png", "a.md: b.md#no-heading", "a.md: #none")
    ]


def test_a_link_of_a_site_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "below" / "b.html").write_text('<h2 id="here">B</h2><a href="../a.html#top">a</a>')
    (tmp_path / "a.html").write_text(
        '<a href="below/b.html#here">1</a><a href="below/b.html#gone">2</a><a href="gone.html">3</a>'
        '<a href="https://example.org">4</a><img src="p.png"><img src="q.png">'
        '<script src="https://cdn.example.org/x.js"></script><link rel="stylesheet" href="//fonts.example.org/a.css">'
    )
    assert site_links.broken_in_site(tmp_path) == [
        "a.html: below/b.html#gone",
        "a.html: gone.html",
        "a.html: loads //fonts.example.org/a.css",
        "a.html: loads https://cdn.example.org/x.js",
        "a.html: q.png",
    ]
