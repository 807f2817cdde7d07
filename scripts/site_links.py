"""Links are held against what there is: those of a built site, and those between Markdown files of a checkout."""

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements of which a browser loads something as it shows a page.
_LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
_FENCE = re.compile(r"^(```|:::).*?^\1", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")


class _Page(HTMLParser):
    """The addresses, anchors and loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element says."""
        said = {name: value or "" for name, value in attrs}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        if tag in _LOADED and _LOADED[tag] in said and said.get("rel") not in ("search", "canonical"):
            self.loaded.append(said[_LOADED[tag]])
        if tag == "a" and "href" in said:
            self.links.append(said["href"])


def broken_in_site(folder: Path) -> list[str]:
    """Links of a site that lead to no file or anchor of it, and files that its pages would load from elsewhere.

    Args:
        folder: The site.

    Returns:
        A line for each, sorted: the page, and the address as it stands there.
    """
    # What stands in it on its own, as a page of reports, is a file to download.
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html") if _is_page(path, folder)}
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder)
        found += [f"{name}: loads {address}" for address in page.loaded if _leads_outside(address)]
        for address in [*page.links, *page.loaded]:
            parts = urlsplit(address)
            if _leads_outside(address) or parts.scheme in ("data", "mailto", "javascript"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = pages.get(target) or pages.get(folder.resolve() / target)
            if not target.is_file() or (there and unquote(parts.fragment) not in there.anchors):
                found.append(f"{name}: {address}")
    return sorted(set(found))


def _is_page(path: Path, folder: Path) -> bool:
    return not {"_downloads", "_static"} & set(path.relative_to(folder).parts)


def _leads_outside(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https") or address.startswith("//")


def broken_in_markdown(files: Iterable[Path]) -> list[str]:
    """Relative links of Markdown files that lead to no file, or to no heading of one, as a code host shows them.

    Args:
        files: The files.

    Returns:
        A line for each: the file, and the address as it stands there.
    """
    found = []
    for path in files:
        for address in links(path.read_text(encoding="utf-8")):
            parts = urlsplit(address)
            if parts.scheme:
                continue
            target = path.parent / unquote(parts.path) if parts.path else path
            if not target.exists() or (
                parts.fragment and target.suffix == ".md" and parts.fragment not in anchors(target)
            ):
                found.append(f"{path.name}: {address}")
    return found


def links(text: str) -> Iterator[str]:
    """Addresses of the links and pictures of a Markdown text, outside code.

    Example:
        >>> list(links("[a](b.md#c) and ![p](q.png), not `[d](e)`"))
        ['b.md#c', 'q.png']
    """
    outside = re.sub(r"`[^`\n]*`", "code", _FENCE.sub("", text))
    return (found[1] for found in _LINK.finditer(outside))


def anchors(path: Path) -> set[str]:
    """Anchors that a code host gives the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
