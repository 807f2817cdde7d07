"""Figures of a run: the approximation, the errors by step, and the distance from the optimum at the end.

Each function writes one figure to the PNG at ``path``, creates the folder where it is missing, and returns ``path``.
Values
are numpy arrays or tensors on the CPU without gradient; those that are not finite, as after a divergence, are left out.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from eckart.results.style import (
    BLACK,
    BLUE,
    LIGHT_GRAY,
    STYLE,
    VERMILLION,
    curve,
    finite,
    label_decades,
    log_scale,
    save,
)

BLOCK = 512
"""Rows and columns that are drawn of a larger matrix, from its upper left corner."""

_WIDTH = 10.0
_LONG_SPECTRUM = 100
# Leaves room for the text in a palette of 256 colors.
_LEVELS = 128


def approximation(
    path: Path,
    target: ArrayLike,
    trained: ArrayLike,
    truncated: ArrayLike,
    *,
    shape: tuple[int, int],
    rank: int,
    relative_frobenius: float,
    optimum_frobenius: float,
) -> Path:
    """Draw the target, the trained approximation and the truncated SVD side by side on one color scale.

    The scale spans the target's values, so equal colors are equal values in all three; arrows at the color bar show
    that an approximation has values outside it. Nonnegative targets are drawn in gray, signed ones in viridis. Wide
    matrices are stacked, and the cells of very elongated ones are stretched to stay visible.

    Args:
        path: The PNG to write.
        target: The target, shape ``(m, n)``, or its leading block of ``BLOCK`` rows or columns.
        trained: The trained approximation, of the same shape as ``target``.
        truncated: The best rank-``rank`` approximation, of the same shape as ``target``.
        shape: Shape of the whole target. The title gives it where ``target`` is only its leading block.
        rank: Rank of both approximations.
        relative_frobenius: Relative Frobenius error of the trained approximation to the whole target.
        optimum_frobenius: Relative Frobenius error of the truncated SVD to the whole target.

    Raises:
        ValueError: If the three matrices differ in shape.

    Example:
        >>> eye, half = np.eye(4), np.diag([1.0, 1.0, 0.0, 0.0])
        >>> errors = {"relative_frobenius": 0.5**0.5, "optimum_frobenius": 0.5**0.5}
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     approximation(Path(folder, "approximation.png"), eye, half, half, shape=(4, 4), rank=2, **errors).name
        'approximation.png'
    """
    captions = (
        f"Trained, rank {rank}\nrelative Frobenius error {relative_frobenius:.4g}",
        f"Truncated SVD, rank {rank}\nrelative Frobenius error {optimum_frobenius:.4g}",
    )
    return save(_approximation(target, trained, truncated, shape, captions), path)


def convergence(
    path: Path,
    steps: ArrayLike,
    loss: ArrayLike,
    relative_2norm: ArrayLike,
    relative_frobenius: ArrayLike,
    optimum_2norm: float,
    optimum_frobenius: float,
) -> Path:
    """Draw the loss, and both relative errors with the optimum, the least error of any matrix of the rank.

    Args:
        path: The PNG to write.
        steps: Optimizer steps at which errors were measured, shape ``(p,)``, ``p >= 1``.
        loss: Training loss at these steps, shape ``(p,)``.
        relative_2norm: Relative 2-norm errors, shape ``(p,)``.
        relative_frobenius: Relative Frobenius errors, shape ``(p,)``.
        optimum_2norm: Relative 2-norm error of the best approximation, a horizontal line.
        optimum_frobenius: The same in the Frobenius norm.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     convergence(Path(folder, "convergence.png"), [0, 1], [4, 1], [0.9, 0.3], [0.8, 0.2], 0.3, 0.2).name
        'convergence.png'
    """
    errors = {"2-norm": (relative_2norm, optimum_2norm), "Frobenius": (relative_frobenius, optimum_frobenius)}
    return save(_convergence(steps, loss, errors), path)


def singular_values(path: Path, target_spectrum: ArrayLike, trained_spectrum: ArrayLike, rank: int) -> Path:
    """Draw the singular values of the target and of the trained approximation, and a line at the rank.

    Values below ``p`` times the float64 epsilon of the largest one are zero to rounding and left out: a curve that ends
    early shows a matrix of lower rank.

    Args:
        path: The PNG to write.
        target_spectrum: Singular values of the target, nonincreasing, shape ``(p,)``, in the units of the target.
        trained_spectrum: Singular values of the trained approximation, shape ``(p,)`` or only the first ``rank``.
        rank: Rank of the approximation.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     singular_values(Path(folder, "singular_values.png"), [3, 2, 1], [3, 2], rank=2).name
        'singular_values.png'
    """
    return save(_singular_values(target_spectrum, trained_spectrum, rank), path)


def accuracy(path: Path, epochs: ArrayLike, cross_entropy: ArrayLike, test_accuracy: ArrayLike) -> Path:
    """Draw a classifier's training cross-entropy and its test accuracy against epochs.

    Args:
        path: The PNG to write.
        epochs: Epochs at whose end both were measured, shape ``(p,)``, ``p >= 1``.
        cross_entropy: Training cross-entropy in nats, shape ``(p,)``.
        test_accuracy: Fraction of the test set that is classified correctly, in [0, 1], shape ``(p,)``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     accuracy(Path(folder, "accuracy.png"), [1, 2], [0.9, 0.5], [0.84, 0.9]).name
        'accuracy.png'
    """
    return save(_accuracy(epochs, cross_entropy, test_accuracy), path)


@matplotlib.rc_context(STYLE)
def _approximation(
    target: ArrayLike, trained: ArrayLike, truncated: ArrayLike, shape: tuple[int, int], captions: tuple[str, str]
) -> Figure:
    blocks = [finite(matrix)[:BLOCK, :BLOCK] for matrix in (target, trained, truncated)]
    rows, columns = blocks[0].shape
    if any(block.shape != (rows, columns) for block in blocks):
        raise ValueError(f"The three matrices must have one shape. Found {', '.join(str(b.shape) for b in blocks)}.")
    size = f"{shape[0]} × {shape[1]}"
    block_size = size if (rows, columns) == shape else f"leading {rows} × {columns} block of {size}"

    low, high = _span(blocks[0])
    colors = matplotlib.colormaps["gray" if low >= 0 else "viridis"].resampled(_LEVELS).with_extremes(bad=VERMILLION)
    margin = 1e-3 * (high - low)
    below = any(_span(block)[0] < low - margin for block in blocks)
    above = any(_span(block)[1] > high + margin for block in blocks)
    norm = Normalize(low, high) if low < high else Normalize(low - 0.5 * (abs(low) or 1), low + 0.5 * (abs(low) or 1))

    stacked = columns > 3 * rows
    aspect = min(max(rows / columns, 1 / 8), 2.0)
    height = 3 * (8.3 * aspect + 0.42) if stacked else 2.8 * aspect + 0.8
    figure = Figure(figsize=(_WIDTH, height), layout="compressed")
    axes = figure.subplots(*((3, 1) if stacked else (1, 3)), squeeze=False).ravel()
    for panel, block, caption in zip(axes, blocks, (f"Target\n{block_size}", *captions), strict=True):
        # Clipped first, because resampling averages values before it colors them, and huge ones would spread.
        clipped = np.clip(block, norm.vmin, norm.vmax)
        image = panel.imshow(clipped, cmap=colors, norm=norm, aspect="auto", interpolation_stage="data")
        panel.set_box_aspect(aspect)
        panel.set_title(caption.replace("\n", ", ") if stacked else caption)
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(True)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    figure.colorbar(image, ax=axes, extend=extend[below, above], aspect=25, pad=0.015).outline.set_linewidth(0.8)
    return figure


@matplotlib.rc_context(STYLE)
def _convergence(steps: ArrayLike, loss: ArrayLike, errors: Mapping[str, tuple[ArrayLike, float]]) -> Figure:
    figure, (left, right) = _two_panels()
    curve(left, steps, loss, BLACK)
    left.set(xlabel="step", ylabel="training loss")
    log_scale(left, loss)

    log_scale(right, *(values for pair in errors.values() for values in pair), smallest=1e-17)
    for (name, (error, optimum)), color in zip(errors.items(), (VERMILLION, BLUE), strict=True):
        curve(right, steps, error, color, label=f"{name} error")
        off_scale = right.get_yscale() == "log" and optimum < right.get_ylim()[0]
        floor = f"{name} optimum {optimum:.4g}" + (", off scale" if off_scale else "")
        right.axhline(optimum, color=color, linestyle="--", linewidth=1.2, label=floor)
    right.set(xlabel="step", ylabel="relative error")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def _singular_values(target_spectrum: ArrayLike, trained_spectrum: ArrayLike, rank: int) -> Figure:
    target, trained = finite(target_spectrum), finite(trained_spectrum)
    figure = Figure(figsize=(_WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    rounding = len(target) * np.finfo(float).eps * _span(target)[1]
    # The wide line lies under the narrow one, so that both are visible where they agree.
    for values, label, color, width in ((target, "target", LIGHT_GRAY, 3.6), (trained, "trained", VERMILLION, 1.6)):
        above_rounding = np.where(values > rounding, values, np.nan) if rounding else values
        curve(axes, np.arange(1, len(values) + 1), above_rounding, color, label=label, width=width)
    axes.axvline(rank, color=BLACK, linestyle=":", label=f"rank {rank}")
    axes.set(xlabel="index", ylabel="singular value", xlim=(0.9, 1.03 * len(target) + 0.07))
    log_scale(axes, target, trained, smallest=rounding)
    if len(target) >= _LONG_SPECTRUM:
        axes.set_xscale("log")
        label_decades(axes.xaxis)
    axes.legend()
    return figure


@matplotlib.rc_context(STYLE)
def _accuracy(epochs: ArrayLike, cross_entropy: ArrayLike, test_accuracy: ArrayLike) -> Figure:
    figure, (left, right) = _two_panels()
    curve(left, epochs, cross_entropy, BLACK)
    left.set(xlabel="epoch", ylabel="training cross-entropy (nats)")
    curve(right, epochs, test_accuracy, BLUE)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    return figure


def _two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(_WIDTH, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """Smallest and largest finite value, both 0 where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
