"""The reproduction as one page of HTML, made of its table, its pictures and the claims."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

from eckart.reports import frame
from eckart.reports.images import scaled
from eckart.reports.markup import Markup, element
from eckart.reports.plot import Plot
from eckart.reproduction import charts, table, verdicts
from eckart.reproduction.claims import Claim, read_claims
from eckart.reproduction.table import TABLE, Entry
from eckart.results.atomic import replacing
from eckart.results.numbers import NONE, short

PAGE, IMAGES = "reproduction.html", "images"
_TITLE = "The documents, reproduced"
_COLUMNS = ("document", "its recipe, here", "margin", "our recipe", "optimum", "verdict")
_PICTURES = {"": "target, the document's recipe, our recipe and the truncated SVD", "_loss": "loss and error by step"}


def write(folder: Path) -> Path:
    """Write the page of a reproduction, from its ``reproduction.csv`` and its ``images``; nothing is trained.

    Args:
        folder: The folder of both, as :func:`eckart.reproduction.page.write` fills it.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If there is no table in the folder.
        ValueError: If it is another table.
    """
    entries, claims = table.read(folder / TABLE), read_claims()
    by_claim: dict[str, list[Entry]] = {}
    for entry in entries:
        by_claim.setdefault(entry.experiment, []).append(entry)
    known = {name: claims[name] for name in by_claim if name in claims}
    plots = {name: charts.of_claim(by_claim[name]) for name, claim in known.items()}
    first = charts.overview(entries)
    body: list[str | None] = [element("p", _counted(entries), class_="lead"), _how()]
    if first is not None:
        body.append(element("section", element("h2", "All values"), element("div", first.markup(), class_="figures")))
    for document in dict.fromkeys(claim.settings["document"] for claim in known.values()):
        own = [claim for claim in known.values() if claim.settings["document"] == document]
        parts = [part for claim in own for part in _claim(claim, by_claim[claim.name], plots[claim.name], folder)]
        body.append(element("section", element("h2", document), *parts))
    body.append(_rule())
    drawn = [plot for plot in (first, *plots.values()) if plot is not None]
    data = {"plots": {plot.key: plot.data() for plot in drawn}, "curves": {}}
    with replacing(folder / PAGE) as partial:
        written = frame.page(_TITLE, [part for part in body if part is not None], data=data)
        partial.write_text(written, encoding="utf-8")
    return folder / PAGE


def _counted(entries: Sequence[Entry]) -> str:
    given = [entry.verdict for entry in entries if entry.verdict is not verdicts.Verdict.NOT_GIVEN]
    told = ", ".join(f"{given.count(verdict)} {verdict}" for verdict in verdicts.Verdict if verdict in given)
    beaten = sum(entry.beaten for entry in entries)
    return f"{len(given)} values of the source documents, trained again: {told}. Our recipe beats {beaten} of them."


def _how() -> Markup:
    return element(
        "p",
        "Its recipe is the document's method, optimizer and number of steps, trained by this package; our recipe takes "
        "the same data, rank and method with this package's defaults. Values are means ± standard deviations over "
        "seeds. ",
        element("code", "python train.py experiment=NAME"),
        " runs one experiment, ",
        element("code", "python scripts/reproduce.py"),
        " all of them.",
    )


def _claim(claim: Claim, entries: Sequence[Entry], plot: Plot | None, folder: Path) -> list[str | None]:
    verdict = claim.describe([(entry.verdict, entry.beaten) for entry in entries])
    return [
        element("h3", claim.headline, id=claim.name),
        element("p", element("code", claim.name), f", {claim.settings['place']}: ", element("strong", verdict), "."),
        element("div", plot.markup(), class_="figures") if plot is not None else None,
        _values(claim, entries),
        *(_picture(claim, folder, suffix, shown) for suffix, shown in _PICTURES.items()),
        element("p", claim.settings["note"].strip(), class_="note") if "note" in claim.settings else None,
    ]


def _values(claim: Claim, entries: Sequence[Entry]) -> Markup:
    names = {table.quantity(entry.quantity) for entry in entries}
    shared = names.pop() if len(names) == 1 else None
    head = element("tr", *(element("th", column, scope="col") for column in (shared or "quantity", *_COLUMNS)))
    body = [
        element(
            "tr",
            element("th", entry.place or table.quantity(entry.quantity), scope="row"),
            *(
                element("td", cell)
                for cell in (
                    short(entry.document),
                    table.spread(*entry.here),
                    NONE if entry.margin is None else f"{entry.margin:.2g}",
                    table.spread(*entry.ours),
                    short(entry.optimum),
                    claim.describe([(entry.verdict, entry.beaten)]),
                )
            ),
        )
        for entry in entries
    ]
    values = element("table", element("thead", head), element("tbody", *body), class_="values")
    return element("div", values, class_="scroll", tabindex="0", role="region", aria_label=f"Values of {claim.name}")


def _picture(claim: Claim, folder: Path, suffix: str, shown: str) -> Markup | None:
    source = scaled(folder / IMAGES / f"{claim.name}{suffix}.png", 1100)
    return None if source is None else element("p", element("img", src=Markup(source), alt=f"{claim.name}: {shown}"))


def _rule() -> Markup:
    blocks = inspect.cleandoc(verdicts.__doc__ or "").split("\n\n")
    parts: list[str] = []
    for block in blocks:
        items = re.split(r"(?m)^\d+\. ", block)
        if len(items) > 1:
            parts.append(element("ol", *(element("li", *_inline(item)) for item in items[1:])))
        else:
            parts.append(element("p", *_inline(block)))
    return element("section", element("h2", "When a value counts as reproduced"), *parts)


def _inline(text: str) -> list[str]:
    """Text with ``**strong**``, ``*emphasis*`` and code, as the rule is written."""
    pieces = re.split(r"(\*\*.+?\*\*|\*.+?\*|`.+?`)", " ".join(text.split()))
    tags = {"**": "strong", "*": "em", "`": "code"}
    return [
        next((element(tag, piece.strip(mark)) for mark, tag in tags.items() if piece.startswith(mark)), piece)
        for piece in pieces
        if piece
    ]
