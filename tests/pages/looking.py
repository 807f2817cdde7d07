"""What a visitor of a page sees, read from Chromium."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, Request

ROOT = Path(__file__).parents[2]
AXE = "ECKART_AXE"
# Where `npm install --no-save axe-core` puts it.
_AXE_FILE = Path("node_modules", "axe-core", "axe.min.js")
_PLOT = "svg.marks"
_MARKS = ", ".join(f"{_PLOT} g[class*=role-mark] {mark}" for mark in ("path", "image", "line"))


@dataclass
class Visit:
    """An open page, and all that it did that a page should not do.

    Attributes:
        page: The page.
        complaints: Errors and warnings of the console, uncaught errors, and dialogs.
        requests: Addresses that it asked for, besides its own file and data in itself.
    """

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: "Page", file: Path) -> "Visit":
        """Open a file in a new page."""
        visit = cls(page)
        own = file.resolve().as_uri()

        def console(message: "ConsoleMessage") -> None:
            if message.type in ("error", "warning"):
                visit.complaints.append(f"console {message.type}: {message.text}")

        def request(request: "Request") -> None:
            if request.url.partition("#")[0] != own and not request.url.startswith(("data:", "blob:")):
                visit.requests.append(request.url)

        def dialog(dialog: "Dialog") -> None:
            visit.complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", console)
        page.on("request", request)
        page.on("dialog", dialog)
        page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
        page.goto(own)
        return visit

    def check(self) -> None:
        """Fail if the page complained or asked for anything."""
        assert not self.complaints and not self.requests, [*self.complaints, *self.requests]


class Open(Protocol):
    """Open a file in a window of its own; the page is checked when the test ends, unless it is known to be bad."""

    def __call__(self, file: Path, *, bad: bool = False, **window: Any) -> Visit: ...


class Finding(NamedTuple):
    """A law of accessibility that a page breaks, and where."""

    impact: str
    rule: str
    places: list[str]


def drawn(page: "Page") -> dict[str, int]:
    """Scroll to each plot, and wait until it is drawn.

    Returns:
        The number of marks of each plot by its name.
    """
    figures = page.locator("figure[data-plot]")
    return {str(figure.get_attribute("data-plot")): _marks(figure) for figure in figures.all() if figure.is_visible()}


def overflow(page: "Page") -> int:
    """Pixels by which the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wide


def accessibility(page: "Page") -> list[Finding]:
    """What axe-core finds, without what it finds out of place; skips the test where it is not installed."""
    source = axe()
    if source is None:
        pytest.skip(f"axe-core was not found: run `npm install --no-save axe-core`, or set {AXE} to its axe.min.js.")
    page.evaluate(source.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        Finding(violation["impact"], violation["id"], [str(node["target"]) for node in violation["nodes"]])
        for violation in found["violations"]
    ]


def axe() -> Path | None:
    """The file of axe-core; None where it is not installed."""
    named = os.environ.get(AXE)
    paths = [Path(named)] if named else [ROOT / _AXE_FILE]
    return next((path for path in paths if path.is_file()), None)


def tab_stops(page: "Page", most: int = 200) -> Iterator[dict[str, Any]]:
    """Go through the page by the Tab key, and tell of each element that it stops at."""
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
                const at = document.activeElement;
                if (!at || at === document.body) return null;
                const style = getComputedStyle(at), box = at.getBoundingClientRect();
                const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                return {tag: at.tagName, id: at.id, text: at.textContent.trim().slice(0, 80),
                        column: at.closest("th")?.textContent.trim() ?? null,
                        seen: ringed || style.boxShadow !== "none",
                        inside: box.bottom > 0 && box.top < innerHeight};
            }"""
        )
        if stop is None:
            return
        yield stop


def spoken(page: "Page") -> list[tuple[str, str]]:
    """What a screen reader finds in Chromium's accessibility tree, in its order: roles and names."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    nodes = {node["nodeId"]: node for node in tree}
    left, found = [tree[0]["nodeId"]], []
    while left:
        node = nodes[left.pop()]
        left += [child for child in reversed(node.get("childIds", [])) if child in nodes]
        if not node["ignored"]:
            found.append((str(node["role"]["value"]), str(node.get("name", {}).get("value", ""))))
    return found


def faint_labels(page: "Page", least: float = 4.5) -> list[str]:
    """Texts of plots whose contrast against the page behind them is below a ratio; axe-core does not look at these."""
    found: list[str] = page.evaluate(
        """least => {
            const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
            const rgba = color => {
                canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data].map(value => value / 255);
            };
            const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
            const light = rgb => rgb.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, value, i) => sum + value * [.2126, .7152, .0722][i], 0);
            const behind = element => {
                const above = [];
                for (let at = element; at; at = at.parentElement) {
                    const drawn = at.tagName === "svg" && at.querySelector("rect.background, path.background");
                    if (drawn) above.push(rgba(getComputedStyle(drawn).fill));
                    above.push(rgba(getComputedStyle(at).backgroundColor));
                }
                return above.reverse().reduce((below, top) => over(top, below),
                    matchMedia("(prefers-color-scheme: dark)").matches ? [.07, .07, .07] : [1, 1, 1]);
            };
            return [...document.querySelectorAll("figure svg text")].flatMap(text => {
                if (!text.textContent.trim() || !text.getClientRects().length) return [];
                const style = getComputedStyle(text), back = behind(text.ownerSVGElement);
                // Vega leaves labels that have no room in place, and hides them.
                if (style.opacity === "0") return [];
                const fill = rgba(style.fill); fill[3] *= style.opacity * style.fillOpacity;
                const [a, b] = [light(over(fill, back)), light(back)];
                const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
                return ratio < least ? [`${text.textContent}: ${ratio.toFixed(2)}`] : [];
            });
        }""",
        least,
    )
    return found


def _marks(figure: "Locator") -> int:
    figure.scroll_into_view_if_needed()
    figure.locator(_PLOT).wait_for()
    return figure.locator(_MARKS).count()
