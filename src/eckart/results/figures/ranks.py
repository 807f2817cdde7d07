"""Errors and accuracy against the rank, over many results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eckart.results.aggregate import Spread
from eckart.results.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    LIGHT_GRAY,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILLION,
    percent,
    rank_axis,
    save,
)

ROUNDING = 1e-16
"""Excess that is drawn for one that is 0 or below, to rounding."""

# Told apart by color, by marker and, where they lie on each other, by size.
_LOOKS = ((BLUE, "o", 5.0), (VERMILLION, "^", 7.0), (GREEN, "s", 9.0), (PURPLE, "D", 11.0), (ORANGE, "v", 13.0))


def errors_by_rank(
    path: Path,
    optimum: Mapping[int, float],
    excess: Mapping[str, Mapping[int, float]],
    *,
    title: str,
    norm: str = "2-norm",
    published: tuple[str, Mapping[int, float]] | None = None,
    chosen: Sequence[int] = (),
) -> Path:
    """Draw relative errors against the rank, above the least that any matrix of the rank has, and their excess.

    Args:
        path: The file to write.
        optimum: Relative error of the truncated SVD by rank.
        excess: Mean excess over it by rank, for each name of what was trained.
        title: What there is to see.
        norm: Name of the norm.
        published: Who published excesses, and these by rank.
        chosen: Ranks that a rule chose, which are marked.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "ranks.png")
        ...     errors_by_rank(path, {1: 0.5, 2: 0.3}, {"net": {1: 0.0, 2: 0.01}}, title="The net is near").name
        'ranks.png'
    """
    return save(_errors_by_rank(optimum, excess, title, norm, published, chosen), path)


def accuracy_by_rank(
    path: Path, accuracy: Mapping[str, Mapping[int, Spread]], *, title: str, chosen: Sequence[int] = ()
) -> Path:
    """Draw test accuracy against the rank, with the standard deviation over seeds.

    Args:
        path: The file to write.
        accuracy: Mean and deviation by rank, for each name of what was trained.
        title: What there is to see.
        chosen: Ranks that a rule chose, which are marked.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     spreads = {2: Spread(0.4, 0.1), 8: Spread(0.9, None)}
        ...     accuracy_by_rank(Path(folder, "accuracy.png"), {"classifier": spreads}, title="Rank 8 is enough").name
        'accuracy.png'
    """
    return save(_accuracy_by_rank(accuracy, title, chosen), path)


@matplotlib.rc_context(STYLE)
def _errors_by_rank(
    optimum: Mapping[int, float],
    excess: Mapping[str, Mapping[int, float]],
    title: str,
    norm: str,
    published: tuple[str, Mapping[int, float]] | None,
    chosen: Sequence[int] = (),
) -> Figure:
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    ranks = sorted(optimum)
    floor = [optimum[rank] for rank in ranks]
    left.fill_between(ranks, floor, color=LIGHT_GRAY, alpha=0.35, linewidth=0)
    left.plot(ranks, floor, color=BLACK, linewidth=1.2, label="truncated SVD: no matrix of the rank is below it")
    if published is not None:
        name, values = published
        _series(left, right, optimum, values, name, (BLACK, "x", 6.0))
    for (name, values), look in zip(excess.items(), _LOOKS * (1 + len(excess) // len(_LOOKS)), strict=False):
        _series(left, right, optimum, values, name, look)
    for axes in (left, right):
        rank_axis(axes, ranks)
        _mark(axes, chosen)
    left.set(ylabel=f"relative {norm} error, mean over seeds")
    left.set_ylim(bottom=0)
    right.set(yscale="log", ylabel=f"excess over the truncated SVD, {norm}")
    right.set_ylim(ROUNDING / 4, 2 * max(1e-12, *(max(values.values()) for values in excess.values())))
    if published is not None:
        right.set_ylim(top=2 * max(right.get_ylim()[1] / 2, *published[1].values()))
    right.axhspan(ROUNDING / 4, 1e-14, color=LIGHT_GRAY, alpha=0.35, linewidth=0)
    band = right.get_yaxis_transform()
    right.text(0.985, 7e-15, "rounding", transform=band, ha="right", va="top", fontsize=8)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


@matplotlib.rc_context(STYLE)
def _accuracy_by_rank(accuracy: Mapping[str, Mapping[int, Spread]], title: str, chosen: Sequence[int] = ()) -> Figure:
    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
    axes = figure.subplots()
    looks = _LOOKS * (1 + len(accuracy) // len(_LOOKS))
    for (name, spreads), (color, marker, size) in zip(accuracy.items(), looks, strict=False):
        ranks = sorted(spreads)
        means = [spreads[rank].mean for rank in ranks]
        deviations = [spreads[rank].deviation or 0.0 for rank in ranks]
        axes.errorbar(ranks, means, deviations, color=color, marker=marker, markersize=size, capsize=3, label=name)
    rank_axis(axes, sorted({rank for spreads in accuracy.values() for rank in spreads}))
    axes.set_ylabel("test accuracy, mean ± standard deviation over seeds")
    percent(axes.yaxis)
    _mark(axes, chosen)
    if len(accuracy) > 1 or chosen:
        axes.legend(loc="lower right")
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


def _mark(axes: Axes, chosen: Sequence[int]) -> None:
    """A dotted line at each rank that a rule chose."""
    for place, rank in enumerate(chosen):
        label = f"chosen by rank=auto: {', '.join(map(str, chosen))}" if place == 0 else None
        axes.axvline(rank, color=GRAY, linestyle=":", linewidth=1.4, zorder=0, label=label)


def _series(
    left: Axes,
    right: Axes,
    optimum: Mapping[int, float],
    excess: Mapping[int, float],
    name: str,
    look: tuple[str, str, float],
) -> None:
    color, marker, size = look
    ranks = [rank for rank in sorted(excess) if rank in optimum]
    above = [excess[rank] for rank in ranks]
    line: dict[str, Any] = {"color": color, "marker": marker, "markersize": size, "fillstyle": "none", "linewidth": 1.0}
    line |= {"markeredgewidth": 1.4, "linestyle": ":"}
    left.plot(ranks, [optimum[rank] + value for rank, value in zip(ranks, above, strict=True)], label=name, **line)
    right.plot(ranks, np.maximum(above, ROUNDING), **line)
