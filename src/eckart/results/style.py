"""Style of every figure: colors, fonts, curves, scales, and the file."""

import base64
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from eckart.results.atomic import replacing
from eckart.results.colors import PALETTE

# Okabe and Ito's palette: distinct under every common color vision deficiency, and in print by lightness.
BLACK, BLUE, VERMILLION, GREEN, PURPLE, ORANGE = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
GRAY, LIGHT_GRAY = "#767676", "#B0B0B0"
STYLE: dict[Any, Any] = {
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
"""Settings of Matplotlib that every figure is drawn with."""
# An SVG of one figure is the same file each time, and shows the same letters everywhere.
_SVG: dict[Any, Any] = {"svg.hashsalt": "eckart", "svg.fonttype": "path"}
_FEW_POINTS = 30
_IMAGE = re.compile(rb'(="data:image/png;base64,)([^"]*)"')


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, a PNG or by the suffix of the path an SVG, which is complete or absent, and return its path.

    Args:
        figure: The figure to draw.
        path: The file to write; an older one is replaced.

    Raises:
        OSError: If the folder cannot be written to; nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Figure(figsize=(2, 1)), Path(folder, "figures", "empty.png")).is_file()
        True
    """
    if path.suffix == ".svg":
        drawn = BytesIO()
        with matplotlib.rc_context(_SVG):
            figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        content = _IMAGE.sub(_smaller, drawn.getvalue())
    else:
        # Not savefig, which computes the layout and draws twice, and packs the pixels into a PNG of its own.
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        content = _paletted(Image.fromarray(np.asarray(canvas.buffer_rgba())), maps=any(a.images for a in figure.axes))
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def _smaller(found: re.Match[bytes]) -> bytes:
    return found[1] + base64.b64encode(_paletted(Image.open(BytesIO(base64.b64decode(found[2]))), maps=True)) + b'"'


def _paletted(picture: Image.Image, *, maps: bool) -> bytes:
    """A PNG in a palette, which keeps noise-like matrices, that do not compress, at a third of their size.

    Args:
        picture: Pixels without transparency.
        maps: Whether it shows matrices: the palette is then that of the maps, each of whose colors is kept.
    """
    image = picture.convert("RGB")
    image = _nearest(image) if maps else image.quantize(256, dither=Image.Dither.NONE)
    content = BytesIO()
    image.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _nearest(image: Image.Image) -> Image.Image:
    # Pillow's own search for the nearest color of a palette is not exact, and makes white gray.
    codes = np.asarray(image, dtype=np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    found, where = np.unique(codes, return_inverse=True)
    colors = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.float32)
    palette = PALETTE.astype(np.float32)
    # Squared distances, but for a part that all colors of the palette share.
    nearest = ((palette**2).sum(axis=1) - 2 * colors @ palette.T).argmin(axis=1).astype(np.uint8)
    indexed = Image.fromarray(nearest[where].reshape(codes.shape))
    indexed.putpalette(PALETTE.tobytes())
    return indexed


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Values in float64, with NaN, which Matplotlib leaves out, in place of infinities.

    Example:
        >>> finite([1, float("inf")])
        array([ 1., nan])
    """
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def curve(axes: Axes, x: ArrayLike, y: ArrayLike, color: str, *, label: str = "", width: float = 1.6) -> None:
    """Draw a line over integer x; up to 30 points are marked, and a line without a finite value is said to be one.

    Args:
        axes: Where it is drawn.
        x: Shape ``(p,)``.
        y: Shape ``(p,)``.
        color: Color of the line.
        label: Text of the legend; none if empty.
        width: Width of the line in points.
    """
    values = finite(y)
    marker = "o" if values.size <= _FEW_POINTS else ""
    axes.plot(np.asarray(x), values, marker=marker, color=color, label=label, linewidth=width, markersize=2.5 * width)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color=GRAY)


def log_scale(axes: Axes, *series: ArrayLike, smallest: float = 0.0) -> None:
    """Make y logarithmic if its values above ``smallest`` differ by a factor of 3 or more.

    Args:
        axes: Whose scale is set.
        *series: All values that are drawn.
        smallest: Values up to this one, at least 0, have no place on the scale.
    """
    values = np.concatenate([np.atleast_1d(finite(part)) for part in series])
    shown = values[values > smallest]
    if not shown.size or shown.max() < 3 * shown.min():
        return
    low, high = np.log10(shown.min()), np.log10(shown.max())
    margin = 0.05 * (high - low)
    # The limits come first and are bounded, because ticks cannot be placed near the largest float of a diverged run.
    axes.set_ylim(10.0 ** max(low - margin, -200.0), 10.0 ** min(high + margin, 200.0))
    axes.set_yscale("log")
    if high - low < 3:
        label_decades(axes.yaxis, fine=high - low < 0.8)


def label_decades(axis: Axis, *, fine: bool = False) -> None:
    """Label 1, 2 and 5 of each decade, or with ``fine`` twice as many values, in plain digits."""
    axis.set_major_locator(
        LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0) if fine else (1.0, 2.0, 5.0), numticks=12)
    )
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent(axis: Axis) -> None:
    """Label parts of 1 in percent, with the digits that tell them apart."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.5g} %"))


def rank_axis(axes: Axes, ranks: Sequence[int]) -> None:
    """Make x the rank: each of a few ranks is labeled, and ranks that double have equal distances.

    Args:
        axes: Whose x it is.
        ranks: The ranks, increasing.
    """
    axes.set_xlabel("rank")
    if len(ranks) > 2 and ranks[-1] >= 8 * ranks[0] and ranks[-1] > 2 * len(ranks):
        axes.set_xscale("log")
    if len(ranks) <= _FEW_POINTS // 2:
        axes.set_xticks(ranks, [str(rank) for rank in ranks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
