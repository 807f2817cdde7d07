"""Pictures of the reproduction: approximations beside their target, and loss and errors by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from eckart.results.colors import scale_of
from eckart.results.figures.matrices import color_bar, draw_matrix
from eckart.results.style import BLACK, BLUE, STYLE, VERMILLION, finite, save

_STYLE = STYLE | {"figure.dpi": 110, "font.size": 9, "axes.titlesize": 9}


def side_by_side(path: Path, panels: Sequence[tuple[str, ArrayLike]]) -> Path:
    """Draw matrices of one shape in a row, on the color scale of the first.

    Colors are those of a run's figures; arrows at the color bar show that there are values outside the scale.

    Args:
        path: The PNG to write.
        panels: Title and matrix ``(m, n)`` of each, the target first.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     side_by_side(Path(folder, "eye.png"), [("target", np.eye(3)), ("zero", np.zeros((3, 3)))]).name
        'eye.png'
    """
    return save(_side_by_side(panels), path)


def training(
    path: Path, loss: tuple[ArrayLike, ArrayLike], errors: Mapping[str, tuple[ArrayLike, ArrayLike]], optimum: float
) -> Path:
    """Draw the loss of one run, and the errors of up to two runs with their optimum; losses cannot be compared.

    Args:
        path: The PNG to write.
        loss: Steps ``(p,)`` and losses ``(p,)``.
        errors: Steps and relative 2-norm errors of each run.
        optimum: Least relative 2-norm error of any matrix of the rank.

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
    matrices = [finite(matrix) for _, matrix in panels]
    scale = scale_of(matrices[0])
    aspect = matrices[0].shape[0] / matrices[0].shape[1]
    figure = Figure(figsize=(2.4 * len(panels), 2.2 * aspect + 0.6), layout="compressed")
    for axes, (title, _), matrix in zip(figure.subplots(1, len(panels)), panels, matrices, strict=True):
        drawn = draw_matrix(axes, matrix, scale, aspect=aspect)
        axes.set_title(title)
    color_bar(figure, drawn, figure.axes, matrices, scale, "entry", stacked=True)
    return figure


@matplotlib.rc_context(_STYLE)
def _training(
    loss: tuple[ArrayLike, ArrayLike], errors: Mapping[str, tuple[ArrayLike, ArrayLike]], optimum: float
) -> Figure:
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        # Logarithmic from step 1 on, with a place for step 0.
        axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
    left.plot(*loss, color=VERMILLION, linewidth=1.4)
    left.set_ylabel("loss, document's recipe")
    for (name, (steps, error)), color in zip(errors.items(), (VERMILLION, BLUE), strict=False):
        right.plot(steps, error, label=name, color=color, linewidth=1.4)
    right.axhline(optimum, color=BLACK, linewidth=0.9, linestyle="--", label="truncated SVD")
    right.set_ylabel("relative 2-norm error")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("optimizer step")
        axes.set_xlim(left=0)
    return figure
