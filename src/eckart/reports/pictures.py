"""Pictures for the reproduction: approximations beside their target, and how training went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from eckart.results.figures import save

_STYLE: dict[Any, Any] = {"figure.dpi": 110, "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9}
# Okabe and Ito's palette, as in every figure of a run.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#000000")


def side_by_side(path: Path, panels: Sequence[tuple[str, ArrayLike]]) -> Path:
    """Draw matrices of one shape in a row, on the color scale of the first.

    Nonnegative targets are drawn in gray as intensities, signed ones in viridis; what leaves the scale is clipped.

    Args:
        path: The PNG to write.
        panels: Title and matrix ``(m, n)`` of each, the target first.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     side_by_side(Path(folder, "eye.png"), [("target", np.eye(3)), ("zero", np.zeros((3, 3)))]).name
        'eye.png'
    """
    return save(_side_by_side(panels), path)


def training(
    path: Path, loss: tuple[ArrayLike, ArrayLike], errors: Mapping[str, tuple[ArrayLike, ArrayLike]], optimum: float
) -> Path:
    """Draw the loss of one run, and the errors of several, which unlike losses can be compared, above their optimum.

    Args:
        path: The PNG to write.
        loss: Steps ``(p,)`` and losses ``(p,)``.
        errors: Steps and relative 2-norm errors of each run.
        optimum: Relative 2-norm error that no matrix of the rank goes below.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "training.png")
        ...     training(path, ([0, 10], [4.0, 1.0]), {"Adam": ([0, 10], [0.9, 0.5])}, optimum=0.4).name
        'training.png'
    """
    return save(_training(loss, errors, optimum), path)


@matplotlib.rc_context(_STYLE)
def _side_by_side(panels: Sequence[tuple[str, ArrayLike]]) -> Figure:
    matrices = [np.asarray(matrix, dtype=np.float64) for _, matrix in panels]
    low, high = matrices[0].min(), matrices[0].max()
    # A product of factors is nonnegative to rounding only.
    gray = low > -1e-9 * high
    figure = Figure(figsize=(2.4 * len(panels), 2.9), layout="constrained")
    for axes, (title, _), matrix in zip(figure.subplots(1, len(panels)), panels, matrices, strict=True):
        drawn = axes.imshow(matrix, cmap="gray" if gray else "viridis", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(drawn, ax=figure.axes, shrink=0.8, pad=0.01)
    return figure


@matplotlib.rc_context(_STYLE)
def _training(
    loss: tuple[ArrayLike, ArrayLike], errors: Mapping[str, tuple[ArrayLike, ArrayLike]], optimum: float
) -> Figure:
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.loglog(_from_one(loss[0]), loss[1], color=_COLORS[0], linewidth=1.4)
    left.set_ylabel("loss, document's recipe")
    for (name, (steps, error)), color in zip(errors.items(), _COLORS, strict=False):
        right.loglog(_from_one(steps), error, label=name, color=color, linewidth=1.4)
    right.axhline(optimum, color="black", linewidth=0.9, linestyle="--", label="truncated SVD")
    right.set_ylabel("relative 2-norm error")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("optimizer steps")
        axes.grid(color="#E4E4E4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _from_one(steps: ArrayLike) -> NDArray[np.float64]:
    # A logarithmic axis has no place for step 0; it shares that of step 1.
    return np.maximum(np.asarray(steps, dtype=np.float64), 1)
