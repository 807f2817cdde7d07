"""``preview.png``: target, trained approximation, truncated SVD and difference, small enough for each job of a sweep.

The panels are of one size and side by side without gaps; the texts that belong to them are in the file too. Made from
numpy and Pillow alone, in about a millisecond.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, PngImagePlugin

from eckart.results.colors import LEVELS, color_map, difference_scale, scale_of

PREVIEW = "preview.png"
CELLS = 96
"""Rows and columns of a panel at most."""

_KEY = "eckart"
_LARGEST_FILE = 200_000
_LONGEST_TEXT = 200
# The narrowest panel is an eighth as wide as it is high, and the other way round: a single row stays visible.
_NARROWEST = 8
_PANELS = ("target", "trained", "truncated SVD", "target − trained")


@dataclass(frozen=True)
class Texts:
    """What a preview says beside its panels.

    Attributes:
        titles: Title of each panel: ``target``, ``trained``, ``truncated SVD``, ``target − trained``.
        shape: Shape of the whole target.
        rank: Rank of the approximations.
        drawn: What a cell of a panel is, such as ``means of 5 × 5 entries``.
        low: Value that the color map of all panels but the last begins at.
        high: Value that it ends at.
        signed: Whether it is the diverging map, as it always is in the last panel; see
            :func:`eckart.results.colors.gradient`.
        difference: The map of the last panel goes from minus this value to this value.
    """

    titles: tuple[str, ...]
    shape: tuple[int, int]
    rank: int
    drawn: str
    low: float
    high: float
    signed: bool
    difference: float


@dataclass(frozen=True)
class Preview:
    """A preview as it is read.

    Attributes:
        texts: What it says.
        panels: A PNG for each title.
        size: Rows and columns of each panel, in pixels.
    """

    texts: Texts
    panels: tuple[bytes, ...]
    size: tuple[int, int]


def write(
    folder: Path,
    target: ArrayLike,
    trained: ArrayLike,
    truncated: ArrayLike,
    *,
    shape: tuple[int, int],
    rank: int,
    drawn: str = "entries",
) -> Path:
    """Write ``preview.png`` to a run's folder; the file is complete or absent.

    Target, trained approximation and truncated SVD are on the scale of the target, the difference on its own.

    Args:
        folder: The run's folder.
        target: Shape ``(rows, cols)``, each at most ``CELLS``; NaN is drawn as 0 is.
        trained: The trained approximation, of the same shape.
        truncated: The best approximation of the rank, of the same shape.
        shape: Shape of the whole target.
        rank: Rank of both approximations.
        drawn: What an entry of the three is.

    Returns:
        The path of the file.

    Raises:
        ValueError: If they differ in shape, or are larger than a panel.
        OSError: If the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> eye, best = np.eye(3), np.diag([1.0, 1.0, 0.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     preview = read(write(Path(folder), eye, best, best, shape=(3, 3), rank=2))
        >>> preview.texts.titles[3], preview.texts.difference, preview.size
        ('target − trained', 1.0, (3, 3))
    """
    cells = [_finite(matrix) for matrix in (target, trained, truncated)]
    if len({matrix.shape for matrix in cells}) > 1 or max(cells[0].shape) > CELLS:
        found = ", ".join(str(matrix.shape) for matrix in cells)
        raise ValueError(f"The matrices must have one shape of at most {CELLS} rows and columns. Found {found}.")
    scale = scale_of(cells[0])
    difference = cells[0] - cells[1]
    own = difference_scale(difference, scale)
    levels = [scale.levels(matrix) for matrix in cells] + [own.levels(difference) + LEVELS]
    rows, cols = cells[0].shape
    repeated = max(1, cols // (_NARROWEST * rows)), max(1, rows // (_NARROWEST * cols))
    pixels = np.concatenate([np.kron(panel, np.ones(repeated, dtype=np.uint8)) for panel in levels], axis=1)
    image = Image.fromarray(pixels)
    image.putpalette(np.concatenate([color_map(signed=scale.signed), color_map(signed=True)]).tobytes())
    texts = Texts(_PANELS, shape, rank, drawn, scale.low, scale.high, scale.signed, own.high)
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(_KEY, json.dumps(asdict(texts)))
    path, partial = folder / PREVIEW, folder / f".{PREVIEW}.{os.getpid()}"
    try:
        # Not synchronized with the disk, which would take longer than all the rest: a picture can be made again.
        image.save(partial, format="PNG", pnginfo=chunks, compress_level=3)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read(path: Path) -> Preview:
    """Read a preview, from whatever program: its size is checked before its pixels are decoded.

    Args:
        path: A ``preview.png``.

    Raises:
        ValueError: If it is not a complete preview of this package, in one line.
        OSError: If it cannot be read.
    """
    if not path.is_file():
        # To open a pipe would wait for ever.
        raise ValueError(f"{path.name} must be a regular file. Found none.")
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"A preview must have at most {_LARGEST_FILE} bytes. Found more.")
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            texts = _checked(json.loads(str(image.info.get(_KEY, ""))))
            count = len(texts.titles)
            if image.mode != "P" or image.width > count * CELLS or image.height > CELLS or image.width % count:
                raise ValueError(f"its {count} panels are {image.width} × {image.height} pixels")
            image.load()
            width, height = image.width // count, image.height
            panels = [_png(image.crop((panel * width, 0, (panel + 1) * width, height))) for panel in range(count)]
    except Exception as error:
        # Whatever a damaged file does to the decoder, it is no reason to lose the page that shows it.
        detail = " ".join(str(error).split())[:_LONGEST_TEXT]
        raise ValueError(f"{path.name} must be a preview of eckart. Found a file that is none: {detail}.") from error
    return Preview(texts, tuple(panels), (height, width))


def _checked(texts: Any) -> Texts:
    if not isinstance(texts, Mapping) or set(texts) != set(Texts.__dataclass_fields__):
        raise ValueError("its texts are missing")
    titles, shape = texts["titles"], texts["shape"]
    numbers = [texts[name] for name in ("low", "high", "difference")]
    whole = [texts["rank"], *shape] if isinstance(shape, list) and len(shape) == 2 else []
    valid = (
        isinstance(titles, list)
        and 0 < len(titles) <= _NARROWEST
        and all(isinstance(text, str) and len(text) <= _LONGEST_TEXT for text in (*titles, texts["drawn"]))
        and whole
        and all(type(number) is int and 0 < number < 2**63 for number in whole)
        and all(type(number) is float and math.isfinite(number) for number in numbers)
        and type(texts["signed"]) is bool
    )
    if not valid:
        raise ValueError("its texts are of other types")
    return Texts(**{**texts, "titles": tuple(titles), "shape": tuple(shape)})


def _finite(matrix: ArrayLike) -> NDArray[np.float64]:
    # Differences and spans of what is left are numbers too.
    return np.clip(np.nan_to_num(np.asarray(matrix, dtype=np.float64)), -1e300, 1e300)


def _png(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, format="PNG", optimize=True)
    return written.getvalue()
