"""Whatever a text holds, a page shows it as text."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from eckart.reports import frame
from eckart.reports.markup import Markup, element, together

HOSTILE = ("<script>alert(1)</script>", "</script><!--", "a\"b'c", "&amp;", "x\u202ey", "\x00\x1b[31m", "\ud800", "]]>")


class Seen(HTMLParser):
    """Elements and texts of a page, as a browser's parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text())
def test_any_text_is_text_in_an_element_and_in_an_attribute(text: str) -> None:
    seen = Seen(element("p", text, title=text))
    assert [tag for tag, _ in seen.tags] == ["p"]
    shown = "".join(seen.texts)
    assert shown.isprintable() and shown.split() == seen.tags[0][1]["title"].split()  # type: ignore[union-attr]
    assert shown.split() == "".join(c if c.isprintable() else " " for c in text).split() or len(text) > 2000


def test_markup_is_not_escaped_twice_and_texts_beside_it_are() -> None:
    assert together(["a < b ", element("b", "c & d"), " e"]) == "a &lt; b <b>c &amp; d</b> e"
    assert element("input", type="search", hidden=True, value=None) == '<input type="search" hidden>'


def test_a_page_has_no_element_of_its_texts_and_runs_no_script_but_its_own() -> None:
    body = [element("p", text, data_label=text) for text in HOSTILE]
    page = frame.page(HOSTILE[0], body, data={text: list(HOSTILE) for text in HOSTILE})
    page.encode("utf-8")
    seen = Seen(page)
    scripts = [attributes for tag, attributes in seen.tags if tag == "script"]
    assert scripts == [{"id": "data", "type": "application/json"}, {}, {}]
    sources = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = next(attributes["content"] for tag, attributes in seen.tags if "http-equiv" in attributes)
    assert policy is not None
    allowed = re.findall(r"sha256-([\w+/=]+)", policy)
    assert allowed == [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert [tag for tag, _ in seen.tags].index("meta") < [tag for tag, _ in seen.tags].index("title")
    assert f"<h1>{html.escape(HOSTILE[0])}</h1>" in page


def test_a_page_loads_nothing() -> None:
    seen = Seen(frame.page("t", [], data={}))
    for tag, attributes in seen.tags:
        assert tag not in {"link", "iframe", "object", "embed"}
        assert not {"src", "srcset", "background"} & attributes.keys()
    for style in ("page.css",):
        assert "url(" not in frame.asset(style) and "@import" not in frame.asset(style)
    assert "innerHTML" not in frame.asset("frame.js") + frame.asset("runs.js")


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(st.text() | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_data_come_back_and_end_no_script(data: dict[str, object]) -> None:
    written = frame.embedded(data)
    assert "<" not in written and "\u2028" not in written
    # NaN and infinity, which JSON has no text for, are null.
    assert json.dumps(json.loads(written)) == json.dumps(json.loads(json.dumps(_finite(data))))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def test_contents_link_to_the_sections_that_there_are() -> None:
    sections = [element("section", element("h2", "A & B"), id="a"), None]
    assert frame.contents(sections).count("<li>") == 1
    assert '<a href="#a">A &amp; B</a>' in frame.contents(sections)
    assert isinstance(frame.contents([]), Markup)
