"""Matrices side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from eckart.results.colors import MISSING, Scale, color_map, difference_scale, scale_of
from eckart.results.style import STYLE, finite, save

CELLS = 400
"""Rows and columns of a panel at most: as many as it has pixels."""

_WIDTH = 10.0
_LARGEST_CELLS = 100


def approximation(
    path: Path,
    matrices: Mapping[str, ArrayLike],
    difference: ArrayLike,
    *,
    title: str,
    place: tuple[int, int, int, int] | None = None,
) -> Path:
    """Draw matrices on one color scale, and the difference of two of them on its own.

    The scale is that of the first matrix, so equal colors are equal values in all; arrows at the color bar show that
    there are values outside it, as there can be of the others. Nonnegative matrices are gray, signed ones blue below 0
    and vermilion above it, and so is the difference; see :mod:`eckart.results.colors`. Wide matrices are stacked, and
    the cells of very elongated ones are stretched to stay visible.

    Args:
        path: The file to write.
        matrices: Matrices of one shape, at most ``CELLS`` in rows and columns, by their captions. The target is the
            first. NaN are entries that are not known.
        difference: What is missing: the target minus the trained approximation.
        title: What there is to see.
        place: First and last row, first and last column, that the matrices are from, counted from 1; None if they are
            images, whose rows and columns mean nothing.

    Raises:
        ValueError: If they differ in shape.

    Example:
        >>> eye, half = np.eye(4), np.diag([1.0, 1.0, 0.0, 0.0])
        >>> matrices = {"target": eye, "trained": half, "truncated SVD": half}
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     approximation(Path(folder, "approximation.png"), matrices, eye - half, title="Rank 2 keeps 50 %").name
        'approximation.png'
    """
    return save(_approximation(matrices, difference, title, place), path)


@matplotlib.rc_context(STYLE)
def _approximation(
    matrices: Mapping[str, ArrayLike],
    difference: ArrayLike,
    title: str,
    place: tuple[int, int, int, int] | None = None,
) -> Figure:
    arrays = [finite(matrix) for matrix in matrices.values()]
    missing = finite(difference)
    shape = arrays[0].shape
    if any(array.shape != shape for array in (*arrays, missing)):
        raise ValueError(f"The matrices must have one shape. Found {', '.join(str(a.shape) for a in arrays)}.")
    scale = scale_of(arrays[0])
    own = difference_scale(missing, scale)
    stacked = shape[1] > 4 * shape[0]
    count = len(arrays) + 1
    aspect = min(max(shape[0] / shape[1], 1 / 8), 2.0)
    panel = min(8.0, 7.5 / (count * aspect)) if stacked else (_WIDTH - 0.6) / count - 0.1
    height = count * (panel * aspect + 0.3) + 0.8 if stacked else panel * aspect + 1.75
    figure = Figure(figsize=(_WIDTH, height), layout="compressed")
    axes = figure.subplots(*((count, 1) if stacked else (1, count)), squeeze=False).ravel()
    for where, array, caption in zip(axes, arrays, matrices, strict=False):
        image = draw_matrix(where, array, scale, aspect=aspect, place=place)
        where.set_title(caption.replace("\n", ", ") if stacked else caption)
    unit = "entry" if place is not None else "pixel"
    rest = draw_matrix(axes[-1], missing, own, aspect=aspect, place=place)
    caption = "what is missing\n" + ("rounding alone" if _is_rounding(missing, scale) else "own scale")
    axes[-1].set_title(caption.replace("\n", ", ") if stacked else caption)
    color_bar(figure, image, list(axes[:-1]), arrays, scale, unit, stacked=stacked)
    color_bar(figure, rest, [axes[-1]], [missing], own, "difference", stacked=stacked)
    if place is not None:
        for where in axes if stacked else axes[:1]:
            where.set_ylabel("row", size=8)
        for where in axes[-1:] if stacked else axes:
            where.set_xlabel("column", size=8)
        for where in axes[1:]:
            where.tick_params(left=stacked, labelleft=stacked)
        for where in axes[:-1]:
            where.tick_params(bottom=not stacked, labelbottom=not stacked)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


def draw_matrix(
    axes: Axes,
    matrix: NDArray[np.float64],
    scale: Scale,
    *,
    aspect: float,
    place: tuple[int, int, int, int] | None = None,
) -> AxesImage:
    """Draw a matrix in the colors of a scale.

    Args:
        axes: Where it is drawn.
        matrix: Shape ``(m, n)``; NaN have a color of their own.
        scale: Its colors.
        aspect: Height of the panel over its width.
        place: As in :func:`approximation`.
    """
    colors = ListedColormap(color_map(signed=scale.signed) / 255).with_extremes(bad=MISSING[scale.signed])
    top, bottom, left, right = place or (1, matrix.shape[0], 1, matrix.shape[1])
    # Clipped first, because resampling averages values before it colors them, and huge ones would spread.
    image = axes.imshow(
        np.clip(matrix, scale.low, scale.high),
        cmap=colors,
        norm=Normalize(scale.low, scale.high),
        aspect="auto",
        extent=(left - 0.5, right + 0.5, bottom + 0.5, top - 0.5),
        interpolation="none" if max(matrix.shape) <= _LARGEST_CELLS else "auto",
        interpolation_stage="data",
    )
    axes.set_box_aspect(aspect)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_linewidth(0.6)
    axes.tick_params(labelsize=8, length=2)
    for axis, first, last in ((axes.xaxis, left, right), (axes.yaxis, top, bottom)):
        if place is None:
            axis.set_ticks([])
        elif last - first < 3:
            axis.set_ticks(range(first, last + 1))
        else:
            axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10], integer=True))
    return image


def color_bar(
    figure: Figure,
    image: AxesImage,
    axes: Sequence[Axes],
    shown: Sequence[NDArray[np.float64]],
    scale: Scale,
    label: str,
    *,
    stacked: bool,
) -> None:
    """Draw the color bar of a scale; its arrows show that there are values beyond it.

    Args:
        figure: The figure.
        image: One of the images on the scale.
        axes: Panels that share it.
        shown: What is drawn in them.
        scale: The scale.
        label: Name of the values.
        stacked: Whether the bar is at the right of the panels, or else below them.
    """
    margin = 1e-3 * (scale.high - scale.low)
    known = np.concatenate([array[np.isfinite(array)] for array in shown])
    below = bool((known < scale.low - margin).any())
    above = bool((known > scale.high + margin).any())
    extend: dict[tuple[bool, bool], Any] = {
        (False, False): "neither",
        (True, False): "min",
        (False, True): "max",
        (True, True): "both",
    }
    rows = len({round(panel.get_subplotspec().rowspan.start) for panel in axes})  # type: ignore[union-attr]
    where: dict[str, Any] = {"location": "right", "aspect": 12 * rows, "pad": 0.015}
    if not stacked:
        where = {"location": "bottom", "aspect": 22 * len(axes), "pad": 0.02}
    bar = figure.colorbar(image, ax=axes, extend=extend[below, above], **where)
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    bar.set_label(label, size=8)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.locator = MaxNLocator(5 if len(axes) > 1 else 3, steps=[1, 2, 2.5, 5, 10])
    bar.formatter = StrMethodFormatter("{x:.3g}")


def _is_rounding(difference: NDArray[np.float64], scale: Scale) -> bool:
    # The scale of a difference ends no earlier, so that none of it has a color.
    return bool(np.nanmax(np.abs(difference), initial=0.0) < 1e-9 * max(abs(scale.low), abs(scale.high)))
