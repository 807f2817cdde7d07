"""The frame of a page that is one file: its head, its style, its scripts, its data, and what it may load."""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eckart.reports.markup import Markup, element, together

_ASSETS = Path(__file__).parent / "assets"


def page(title: str, body: Sequence[str], *, data: Mapping[str, Any], scripts: Sequence[str] = ()) -> str:
    """A whole page as text, without any address that a browser would load.

    Its content security policy lets the browser run the scripts of this package and no other, whatever the body and
    the data hold, and load nothing.

    Args:
        title: What the page is called; also its heading.
        body: Markup of its sections; text among it is escaped.
        data: What the scripts read, as JSON; a number that is not finite becomes null.
        scripts: Files of ``assets`` that run after the plots' own script, in this order.

    Returns:
        The HTML, to be written as UTF-8.

    Example:
        >>> written = page("2 < 3", [element("p", "one")], data={"text": "</script>"})
        >>> "<h1>2 &lt; 3</h1>" in written, "</script>" in written.split('type="application/json"')[1][:30]
        (True, False)
    """
    sources = [plotting(), *(asset(name) for name in ("frame.js", *scripts))]
    head = [
        Markup('<meta charset="utf-8">'),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(sources)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Markup(f"<style>{asset('page.css')}</style>"),
    ]
    shown = [
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("button", "Dark", type="button", id="theme", aria_pressed="false", hidden=True),
        element("main", element("h1", title), *body, id="content"),
        element("noscript", element("p", "The plots, the pictures and the table of runs need JavaScript.")),
        element("div", id="tooltip", hidden=True),
        Markup(f'<script id="data" type="application/json">{embedded(data)}</script>'),
        *(Markup(f"<script>{source}</script>") for source in sources),
    ]
    whole = [element("head", *head), element("body", *shown)]
    return f'<!doctype html>\n<html lang="en">{together(whole)}</html>\n'


def contents(sections: Iterable[Markup | None]) -> Markup:
    """Links to the sections of a page, by their headings.

    Args:
        sections: Sections with an ``id``, each beginning with its ``h2``; None is left out.

    Example:
        >>> contents([element("section", element("h2", "Runs"), id="all")])
        '<nav aria-label="Sections" class="sections"><ul><li><a href="#all">Runs</a></li></ul></nav>'
    """
    found = [re.match(r'<section id="([\w-]+)"><h2>(.*?)</h2>', section) for section in sections if section is not None]
    links = [element("li", element("a", Markup(match[2]), href=f"#{match[1]}")) for match in found if match]
    return element("nav", element("ul", *links), aria_label="Sections", class_="sections")


@functools.cache
def plotting() -> str:
    """The script that draws plots: Vega, Vega-Lite and Vega-Embed; it takes a second to put together."""
    import vl_convert

    return _inline(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def asset(name: str) -> str:
    """Text of a file of ``assets``, as it stands inside a page."""
    return _inline((_ASSETS / name).read_text(encoding="utf-8"))


def embedded(data: Any) -> str:
    r"""JSON that can stand inside a script element: no text of it ends the element or begins a comment.

    Example:
        >>> embedded(["</script>", float("nan"), "a\u2028b"])
        '["\\u003c/script>",null,"a\\u2028b"]'
    """
    try:
        written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        written = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in ("<", "\u2028", "\u2029"):
        written = written.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate, as in the name of a file that is no UTF-8, cannot be written.
    return written.encode("utf-8", "replace").decode("utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -float("inf") < value < float("inf") else value


def _inline(source: str) -> str:
    assert "</script" not in source.lower() and "</style" not in source.lower()
    return source


def _policy(sources: Sequence[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
    scripts = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; "
        "base-uri 'none'; form-action 'none'"
    )
