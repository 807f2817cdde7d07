"""Pictures of runs, small enough for a page: previews, figures, and images that runs logged to W&B."""

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from eckart.printable import printable
from eckart.reports.lines import Lines
from eckart.reports.markup import Markup, element
from eckart.reports.record import Record
from eckart.results.result import FIGURES

BUDGET = 4_000_000
"""Bytes of pictures in a page at most, as they are encoded there."""
_WIDEST = 720
_EACH = 12
_LARGEST_FILE = 40 * 2**20
_LARGEST_IMAGE = 60_000_000


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

    The first seed of each line and rank comes first, so that a large sweep shows something of everything.

    Returns:
        ``runs``, for each run its place, its name and its pictures, and ``of``, the number of runs that have some.
    """
    spent, shown, having = 0, [], 0
    for place in _ordered(records, lines):
        record = records[place]
        if spent >= BUDGET:
            # Only whether there are any.
            having += next(_files(record), None) is not None
            continue
        images = list(_images(record))
        having += bool(images)
        size = sum(len(image["src"]) for image in images)
        if images and spent + size <= BUDGET:
            spent += size
            shown.append({"run": place, "name": _name(record), "images": images})
    return {"runs": sorted(shown, key=lambda run: run["run"]), "of": having}


def _name(record: Record) -> str:
    return printable(record.name, 200)


def _ordered(records: Sequence[Record], lines: Lines) -> list[int]:
    places: dict[int, int] = {}
    for line in lines.all:
        for point in line.points:
            for order, run in enumerate(point.runs):
                places[id(run.fields)] = order
    return sorted(range(len(records)), key=lambda place: places.get(id(records[place].fields), 0))


def _files(record: Record) -> Iterator[tuple[Path, str, str]]:
    """Files of pictures of a run, with a title and a caption."""
    if record.has_folder:
        folder = record.path / FIGURES
        if folder.is_dir():
            for path in sorted(folder.glob("*.png")):
                yield path, path.stem.replace("_", " "), ""
    for item in record.media:
        yield item.path, item.key if item.step is None else f"{item.key}, step {item.step}", item.caption


def _images(record: Record) -> Iterator[dict[str, Any]]:
    for path, title, caption in list(_files(record))[:_EACH]:
        encoded = scaled(path)
        if encoded is not None:
            yield {"title": printable(title, 120), "caption": printable(caption, 300), "src": encoded, "pixels": False}


def scaled(path: Path, widest: int = _WIDEST) -> str | None:
    """An image file as the address of a picture inside the page; None if it is no image that can be shown."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        with Image.open(path, formats=("PNG", "JPEG", "GIF", "BMP", "WEBP")) as image:
            if image.width * image.height > _LARGEST_IMAGE:
                return None
            image.thumbnail((widest, widest), reducing_gap=2.0)
            mode = "RGBA" if "transparency" in image.info or "A" in image.mode else "RGB"
            small = image.convert(mode)
        if mode == "RGB":
            small = small.quantize(128, dither=Image.Dither.NONE)
        written = BytesIO()
        small.save(written, format="PNG", optimize=True)
    except Exception:
        # Whatever a damaged file does to the decoder, it is no reason to lose the page.
        return None
    return address(written.getvalue())


def address(png: bytes) -> str:
    """A PNG as an address inside the page.

    Example:
        >>> address(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
