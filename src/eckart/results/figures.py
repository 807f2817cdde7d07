"""Figures of a run: what was learned, how it got there, and how far from the optimum it ended.

Each function draws one figure into the PNG at ``path``, in a folder made where it is missing, and returns ``path``.
Values are numpy arrays or tensors on the CPU without gradient; what is not finite, as after a divergence, is left out.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from eckart.results.atomic import replacing

BLOCK = 512
"""Rows and columns that are drawn of a larger matrix, from its upper left corner."""

# Okabe and Ito's palette: distinct under every common color vision deficiency, and in print by lightness.
_BLACK, _BLUE, _VERMILLION = "#000000", "#0072B2", "#D55E00"
_GRAY, _LIGHT_GRAY = "#767676", "#B0B0B0"
_STYLE: dict[Any, Any] = {
    "figure.dpi": 140,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.hspace": 0.0,
    "legend.frameon": False,
}
_WIDTH = 10.0
_FEW_POINTS = 30
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

    The scale spans the target's values, so equal colors are equal values in all three; the color bar's arrows tell
    that an approximation leaves it. Nonnegative targets are drawn in gray as intensities, signed ones in viridis.
    Wide matrices are stacked, and the cells of very elongated ones are stretched to stay visible.

    Args:
        path: The PNG to write.
        target: The target, shape ``(m, n)``, or its leading block of ``BLOCK`` rows or columns.
        trained: The trained approximation, of the same shape as ``target``.
        truncated: The best rank-``rank`` approximation, of the same shape as ``target``.
        shape: Shape of the whole target. The title says so where ``target`` is only its leading block.
        rank: Rank that both approximations are held to.
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
    """Draw the loss, and both relative errors above the optimum that no matrix of the rank can go below.

    Args:
        path: The PNG to write.
        steps: Optimizer steps at which the history was taken, shape ``(p,)``, ``p >= 1``.
        loss: Training loss at these steps, shape ``(p,)``.
        relative_2norm: Relative 2-norm errors, shape ``(p,)``.
        relative_frobenius: Relative Frobenius errors, shape ``(p,)``.
        optimum_2norm: Relative 2-norm error of the best approximation, drawn as a floor where the scale reaches it.
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
    """Draw the singular values of the target and of the trained approximation, and where the rank cuts them.

    Values that are zero to rounding, below ``p`` times the float64 epsilon of the largest one, are left out: a curve
    that ends early is a matrix of lower rank.

    Args:
        path: The PNG to write.
        target_spectrum: Singular values of the target, nonincreasing, shape ``(p,)``, in the units of the target.
        trained_spectrum: Singular values of the trained approximation, shape ``(p,)`` or only the first ``rank``.
        rank: Rank that the approximation is held to.

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
        epochs: Epochs at whose end the history was taken, shape ``(p,)``, ``p >= 1``.
        cross_entropy: Training cross-entropy in nats, shape ``(p,)``.
        test_accuracy: Fraction of the test set that is classified correctly, in [0, 1], shape ``(p,)``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     accuracy(Path(folder, "accuracy.png"), [1, 2], [0.9, 0.5], [0.84, 0.9]).name
        'accuracy.png'
    """
    return save(_accuracy(epochs, cross_entropy, test_accuracy), path)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG that is never seen half written, and return its path.

    Args:
        figure: The figure to draw.
        path: The PNG to write; an older one is replaced.

    Raises:
        OSError: If the folder cannot be written to; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Figure(figsize=(2, 1)), Path(folder, "figures", "empty.png")).is_file()
        True
    """
    drawn = BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    # A palette keeps noise-like matrices, which do not compress, at a third of their size in full color.
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with replacing(path) as partial:
        image.save(partial, format="PNG", optimize=True)
    return path


@matplotlib.rc_context(_STYLE)
def _approximation(
    target: ArrayLike, trained: ArrayLike, truncated: ArrayLike, shape: tuple[int, int], captions: tuple[str, str]
) -> Figure:
    blocks = [_finite(matrix)[:BLOCK, :BLOCK] for matrix in (target, trained, truncated)]
    rows, columns = blocks[0].shape
    if any(block.shape != (rows, columns) for block in blocks):
        raise ValueError(f"The three matrices must have one shape. Found {', '.join(str(b.shape) for b in blocks)}.")
    size = f"{shape[0]} × {shape[1]}"
    block_size = size if (rows, columns) == shape else f"leading {rows} × {columns} block of {size}"

    low, high = _span(blocks[0])
    colors = matplotlib.colormaps["gray" if low >= 0 else "viridis"].resampled(_LEVELS).with_extremes(bad=_VERMILLION)
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
        # Clipped first, because resampling mixes values before it colors them and would smear huge ones.
        clipped = np.clip(block, norm.vmin, norm.vmax)
        image = panel.imshow(clipped, cmap=colors, norm=norm, aspect="auto", interpolation_stage="data")
        panel.set_box_aspect(aspect)
        panel.set_title(caption.replace("\n", ", ") if stacked else caption)
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(True)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    figure.colorbar(image, ax=axes, extend=extend[below, above], aspect=25, pad=0.015).outline.set_linewidth(0.8)
    return figure


@matplotlib.rc_context(_STYLE)
def _convergence(steps: ArrayLike, loss: ArrayLike, errors: Mapping[str, tuple[ArrayLike, float]]) -> Figure:
    figure, (left, right) = _two_panels()
    _curve(left, steps, loss, _BLACK)
    left.set(xlabel="step", ylabel="training loss")
    _log_scale(left, loss)

    _log_scale(right, *(values for pair in errors.values() for values in pair), smallest=1e-17)
    for (name, (error, optimum)), color in zip(errors.items(), (_VERMILLION, _BLUE), strict=True):
        _curve(right, steps, error, color, label=f"{name} error")
        off_scale = right.get_yscale() == "log" and optimum < right.get_ylim()[0]
        floor = f"{name} optimum {optimum:.4g}" + (", off scale" if off_scale else "")
        right.axhline(optimum, color=color, linestyle="--", linewidth=1.2, label=floor)
    right.set(xlabel="step", ylabel="relative error")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(_STYLE)
def _singular_values(target_spectrum: ArrayLike, trained_spectrum: ArrayLike, rank: int) -> Figure:
    target, trained = _finite(target_spectrum), _finite(trained_spectrum)
    figure = Figure(figsize=(_WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    rounding = len(target) * np.finfo(float).eps * _span(target)[1]
    # Wide below and narrow above, so that both are seen where they agree.
    for values, label, color, width in ((target, "target", _LIGHT_GRAY, 3.6), (trained, "trained", _VERMILLION, 1.6)):
        above_rounding = np.where(values > rounding, values, np.nan) if rounding else values
        _curve(axes, np.arange(1, len(values) + 1), above_rounding, color, label=label, width=width)
    axes.axvline(rank, color=_BLACK, linestyle=":", label=f"rank {rank}")
    axes.set(xlabel="index", ylabel="singular value", xlim=(0.9, 1.03 * len(target) + 0.07))
    _log_scale(axes, target, trained, smallest=rounding)
    if len(target) >= _LONG_SPECTRUM:
        axes.set_xscale("log")
        _label_decades(axes.xaxis)
    axes.legend()
    return figure


@matplotlib.rc_context(_STYLE)
def _accuracy(epochs: ArrayLike, cross_entropy: ArrayLike, test_accuracy: ArrayLike) -> Figure:
    figure, (left, right) = _two_panels()
    _curve(left, epochs, cross_entropy, _BLACK)
    left.set(xlabel="epoch", ylabel="training cross-entropy (nats)")
    _curve(right, epochs, test_accuracy, _BLUE)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    return figure


def _two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(_WIDTH, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """Values with NaN, which Matplotlib leaves out, for all that is not finite."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """Smallest and largest finite value, both 0 where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _curve(axes: Axes, x: ArrayLike, y: ArrayLike, color: str, *, label: str = "", width: float = 1.6) -> None:
    values = _finite(y)
    marker = "o" if values.size <= _FEW_POINTS else ""
    axes.plot(np.asarray(x), values, marker=marker, color=color, label=label, linewidth=width, markersize=2.5 * width)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color=_GRAY)


def _log_scale(axes: Axes, *series: ArrayLike, smallest: float = 0.0) -> None:
    """Make y logarithmic if its values above ``smallest``, which is not negative, differ enough to need it."""
    values = np.concatenate([np.atleast_1d(_finite(part)) for part in series])
    shown = values[values > smallest]
    if not shown.size or shown.max() < 3 * shown.min():
        return
    low, high = np.log10(shown.min()), np.log10(shown.max())
    margin = 0.05 * (high - low)
    # Limits first, and no wider than ticks can be placed on: a diverged run leaves values near the largest float.
    axes.set_ylim(10.0 ** max(low - margin, -200.0), 10.0 ** min(high + margin, 200.0))
    axes.set_yscale("log")
    if high - low < 3:
        _label_decades(axes.yaxis)


def _label_decades(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade, in plain digits."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
