"""Pictures of runs: previews, figures, and images that runs logged to W&B, as far as a budget of bytes goes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eckart.printable import printable
from eckart.reports.images import address, scaled
from eckart.reports.lines import Lines
from eckart.reports.markup import Markup, element
from eckart.reports.record import Record
from eckart.results import preview
from eckart.results.colors import gradient
from eckart.results.result import FIGURES

BUDGET = 4_000_000
"""Bytes of pictures in a page at most, as they are encoded there."""
_EACH = 12
_RUNS = 600
_TITLES = {"target": "Target", "trained": "Trained", "truncated SVD": "Truncated SVD"}
_DIFFERENCE = "Difference, target − trained"


def markup() -> Markup:
    """The place of the pictures, and the choice of the run."""
    controls = element(
        "div",
        element("label", "Run ", element("select", id="chooser")),
        element("button", "Previous run", type="button", id="previous-run"),
        element("button", "Next run", type="button", id="next-run"),
        class_="controls",
    )
    return element(
        "section",
        element("h2", "Pictures"),
        controls,
        element("div", id="pictures", aria_live="polite"),
        element("p", "", id="pictures-note", class_="note"),
        id="picture-section",
    )


def data(records: Sequence[Record], lines: Lines) -> dict[str, Any]:
    """Pictures by run, as far as the budget goes.

    The first seed of each line and rank comes first, so that a large sweep shows something of everything; the previews
    of all of these come before the first larger figure.

    Returns:
        ``runs``, for each run its place, its name and its pictures; ``sources``, the addresses of the pictures, each
        once; ``colors``, the color maps of previews; and ``of``, the number of runs that have pictures.
    """
    kept = _Kept()
    ordered = _ordered(records, lines)
    having = [place for place in ordered if _has_pictures(records[place])]
    for place in having[:_RUNS]:
        if not kept.add(place, list(_preview(records[place]))):
            break
    for place in having[:_RUNS]:
        if not kept.add(place, list(_larger(records[place]))):
            break
    runs = [
        {"run": place, "name": printable(records[place].name, 200), "images": kept.of_run[place]}
        for place in sorted(kept.of_run)
    ]
    maps = [", ".join(gradient(signed=signed)) for signed in (False, True)]
    return {"runs": runs, "sources": list(kept.sources), "colors": maps, "of": len(having)}


class _Kept:
    """Pictures that are in the page. The same target is behind many runs: equal pictures are kept once."""

    def __init__(self) -> None:
        self.of_run: dict[int, list[dict[str, Any]]] = {}
        self.sources: dict[str, int] = {}
        self._spent = 0

    def add(self, run: int, images: list[dict[str, Any]]) -> bool:
        """Add pictures to a run; whether the budget allowed for them."""
        new = {image["src"] for image in images if image["src"] not in self.sources}
        size = sum(map(len, new))
        if self._spent + size > BUDGET:
            return False
        self._spent += size
        for image in images:
            source = self.sources.setdefault(image["src"], len(self.sources))
            self.of_run.setdefault(run, []).append(image | {"src": source})
        return True


def _ordered(records: Sequence[Record], lines: Lines) -> list[int]:
    seeds = {
        id(run.fields): order for line in lines.all for point in line.points for order, run in enumerate(point.runs)
    }
    return sorted(range(len(records)), key=lambda place: seeds.get(id(records[place].fields), 0))


def _has_pictures(record: Record) -> bool:
    folder = record.path
    return bool(record.media) or (
        record.has_folder and ((folder / preview.PREVIEW).is_file() or (folder / FIGURES).is_dir())
    )


def _preview(record: Record) -> Iterator[dict[str, Any]]:
    path = record.path / preview.PREVIEW
    if not record.has_folder or not path.is_file():
        return
    try:
        found = preview.read(path)
    except (OSError, ValueError):
        # What is wrong with it matters to nobody who reads the page.
        return
    texts = found.texts
    rows, cols = texts.shape
    said = f"{rows} × {cols}" if texts.drawn == "entries" else f"{rows} × {cols}, drawn as {texts.drawn}"
    ranked = f"rank {texts.rank}"
    captions = {"target": said, "trained": ranked, "truncated SVD": ranked}
    for title, panel in zip(texts.titles, found.panels, strict=True):
        last = title not in _TITLES
        scale = (-texts.difference, texts.difference, True) if last else (texts.low, texts.high, texts.signed)
        yield {
            "title": _DIFFERENCE if last else _TITLES[title],
            "caption": captions.get(title, ""),
            "src": address(panel),
            "pixels": True,
            "scale": [f"{scale[0]:.3g}", f"{scale[1]:.3g}", int(scale[2])],
        }


def _larger(record: Record) -> Iterator[dict[str, Any]]:
    for path, title, caption in list(_files(record))[:_EACH]:
        encoded = scaled(path)
        if encoded is not None:
            yield {"title": printable(title, 120), "caption": printable(caption, 300), "src": encoded, "pixels": False}


def _files(record: Record) -> Iterator[tuple[Path, str, str]]:
    """Files of larger pictures of a run, with a title and a caption."""
    if record.has_folder and (folder := record.path / FIGURES).is_dir():
        for path in sorted(folder.glob("*.png")):
            yield path, path.stem.replace("_", " ").capitalize(), ""
    for item in record.media:
        yield item.path, item.key if item.step is None else f"{item.key}, step {item.step}", item.caption


def of(pictures: Mapping[str, Any]) -> list[int]:
    """Places of the runs whose pictures are in the page."""
    return [run["run"] for run in pictures["runs"]]
