"""Curves of one run: errors by step, singular values, accuracy by epoch."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from eckart.results import captions
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
    percent,
    save,
)

_WIDTH = 10.0
_LONG_SPECTRUM = 100


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
        path: The file to write.
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
        path: The file to write.
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


def accuracy(path: Path, epochs: ArrayLike, cross_entropy: ArrayLike, accuracies: ArrayLike, of: str = "test") -> Path:
    """Draw a classifier's training cross-entropy and its accuracy against epochs.

    Args:
        path: The file to write.
        epochs: Epochs at whose end both were measured, shape ``(p,)``, ``p >= 1``.
        cross_entropy: Training cross-entropy in nats, shape ``(p,)``.
        accuracies: Fraction of the samples that is classified correctly, in [0, 1], shape ``(p,)``.
        of: Samples that are meant: ``test`` or ``validation``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     accuracy(Path(folder, "accuracy.png"), [1, 2], [0.9, 0.5], [0.84, 0.9]).name
        'accuracy.png'
    """
    return save(_accuracy(epochs, cross_entropy, accuracies, of), path)


@matplotlib.rc_context(STYLE)
def _convergence(steps: ArrayLike, loss: ArrayLike, errors: Mapping[str, tuple[ArrayLike, float]]) -> Figure:
    figure, (left, right) = _two_panels()
    curve(left, steps, loss, BLACK)
    left.set(xlabel="optimizer step", ylabel="training loss")
    log_scale(left, loss)

    log_scale(right, *(values for pair in errors.values() for values in pair), smallest=1e-17)
    for (name, (error, optimum)), color in zip(errors.items(), (VERMILLION, BLUE), strict=True):
        curve(right, steps, error, color, label=f"{name} error")
        off_scale = right.get_yscale() == "log" and optimum < right.get_ylim()[0]
        floor = f"{name} optimum {optimum:.4g}" + (", off scale" if off_scale else "")
        right.axhline(optimum, color=color, linestyle="--", linewidth=1.2, label=floor)
    right.set(xlabel="optimizer step", ylabel="relative error")
    figure.legend(loc="outside lower center", ncols=4)
    last = {name: (float(np.asarray(error)[-1]), optimum) for name, (error, optimum) in errors.items()}
    _title(figure, captions.convergence(np.asarray(steps).tolist(), last))
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
    axes.set(xlabel="index", ylabel="singular value, in the units of the target", xlim=(0.9, 1.03 * len(target) + 0.07))
    log_scale(axes, target, trained, smallest=rounding)
    if len(target) >= _LONG_SPECTRUM:
        axes.set_xscale("log")
        label_decades(axes.xaxis)
    axes.legend()
    _title(figure, captions.spectrum(np.asarray(target).tolist(), np.asarray(trained).tolist(), rank))
    return figure


@matplotlib.rc_context(STYLE)
def _accuracy(epochs: ArrayLike, cross_entropy: ArrayLike, accuracies: ArrayLike, of: str = "test") -> Figure:
    figure, (left, right) = _two_panels()
    curve(left, epochs, cross_entropy, BLACK)
    left.set(xlabel="epoch", ylabel="training cross-entropy (nats)")
    curve(right, epochs, accuracies, BLUE)
    right.set(xlabel="epoch", ylabel=f"{of} accuracy")
    percent(right.yaxis)
    _title(figure, captions.accuracy(np.asarray(accuracies, dtype=float).tolist(), of))
    return figure


def _two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(_WIDTH, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.012, ha="left", fontsize=11)


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """Smallest and largest finite value, both 0 where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
