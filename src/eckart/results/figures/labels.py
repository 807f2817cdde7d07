"""What a classifier sees and mistakes."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from eckart.results import captions
from eckart.results.colors import LEVELS, Scale, color_map
from eckart.results.figures.matrices import draw_matrix
from eckart.results.style import STYLE, finite, save

COMPONENTS = 16
"""Components that are drawn at most."""

_COLUMNS = 8
_MOST_CLASSES_WITH_COUNTS = 20


def components(path: Path, vectors: ArrayLike, shares: ArrayLike, image: tuple[int, int]) -> Path:
    """Draw the leading right singular vectors as images, on one diverging scale.

    Args:
        path: The file to write.
        vectors: The vectors, the leading ones first, shape ``(k, pixels)``; the first ``COMPONENTS`` are drawn.
        shares: Part of the squared norm of the samples that each holds, shape ``(k,)``.
        image: Rows and columns of an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     components(Path(folder, "components.png"), np.eye(4)[:2], [0.7, 0.2], image=(2, 2)).name
        'components.png'
    """
    return save(_components(vectors, shares, image), path)


def confusion(path: Path, counts: Sequence[Sequence[int]]) -> Path:
    """Draw how many samples of each class are taken for each class: color by the part of the class, and the number.

    Args:
        path: The file to write.
        counts: Samples by true class and predicted class, shape ``(classes, classes)``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     confusion(Path(folder, "confusion.png"), [[9, 1], [3, 7]]).name
        'confusion.png'
    """
    return save(_confusion(counts), path)


@matplotlib.rc_context(STYLE)
def _components(vectors: ArrayLike, shares: ArrayLike, image: tuple[int, int]) -> Figure:
    all_vectors, parts = finite(vectors), finite(shares)
    shown = np.nan_to_num(all_vectors[:COMPONENTS])
    largest = float(np.abs(shown).max()) or 1.0
    scale = Scale(-largest, largest, signed=True)
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    aspect = min(max(image[0] / image[1], 1 / 8), 2.0)
    figure = Figure(figsize=(10.0, rows * (0.95 * aspect + 0.3) + 0.6), layout="compressed")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for where in axes[len(shown) :]:
        where.set_axis_off()
    for index, (where, vector) in enumerate(zip(axes, shown, strict=False)):
        # A singular vector is one up to its sign: most of its weight is positive.
        sign = np.sign(vector[np.abs(vector).argmax()]) or 1.0
        drawn = draw_matrix(where, (sign * vector).reshape(image), scale, aspect=aspect)
        where.set_title(f"{index + 1}: {100 * parts[index]:.2g} %", fontsize=9)
    bar = figure.colorbar(drawn, ax=list(axes), aspect=10 * rows, pad=0.01, ticks=[-largest, 0, largest], format="%.2g")
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    bar.set_label("weight of a pixel", size=8)
    bar.ax.tick_params(labelsize=8, length=2)
    held = captions.share(float(np.nansum(parts)))
    count = len(all_vectors)
    title = f"Each image is made of {count} component{'s' * (count > 1)}, which hold {held} of the squared norm"
    title += f"; the first {len(shown)}" if count > len(shown) else ""
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


@matplotlib.rc_context(STYLE)
def _confusion(counts: Sequence[Sequence[int]]) -> Figure:
    table = np.asarray(counts, dtype=np.float64)
    classes = len(table)
    parts = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7.0, 6.3), layout="constrained")
    axes = figure.subplots()
    # From white to blue; the square root makes rare mistakes visible beside the diagonal.
    blues = color_map(signed=True)[LEVELS // 2 :: -1] / 255
    drawn = axes.imshow(np.sqrt(parts), cmap=ListedColormap(blues), vmin=0, vmax=1, interpolation="none")
    if classes <= _MOST_CLASSES_WITH_COUNTS:
        size = min(10, 110 / classes)
        for true, taken in np.ndindex(classes, classes):
            if table[true, taken]:
                color = "white" if parts[true, taken] > 0.25 else "black"
                text = f"{int(table[true, taken])}"
                axes.text(taken, true, text, ha="center", va="center", fontsize=size, color=color)
        axes.set(xticks=range(classes), yticks=range(classes))
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, ticks=np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0 %", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    bar.set_label("part of the true class")
    figure.suptitle(captions.confusion(counts).replace("; ", ";\n"), x=0.02, ha="left", fontsize=11)
    return figure
