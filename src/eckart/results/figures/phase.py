"""The share of runs that succeed over two settings: a phase diagram."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from eckart.results.style import BLUE, STYLE, save

_COLORS = LinearSegmentedColormap.from_list("share", ["#FFFFFF", BLUE])


def phase_diagram(
    path: Path,
    shares: Mapping[tuple[float, float], float],
    *,
    title: str,
    across: str,
    upwards: str,
    label: str,
) -> Path:
    """Draw shares as a map of cells, each with its number.

    Args:
        path: The file to write.
        shares: Share of the runs from 0 to 1, by the value across and the value upwards; a cell without runs is left
            out.
        title: What there is to see.
        across: Name of the setting from left to right.
        upwards: Name of the setting from below.
        label: What is shared.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "phase.png")
        ...     words = {"across": "oversampling", "upwards": "rank", "label": "share recovered"}
        ...     phase_diagram(path, {(1.5, 2.0): 0.5, (2.0, 2.0): 1.0}, title="Two are enough", **words).name
        'phase.png'
    """
    return save(_phase_diagram(shares, title, across, upwards, label), path)


@matplotlib.rc_context(STYLE)
def _phase_diagram(
    shares: Mapping[tuple[float, float], float], title: str, across: str, upwards: str, label: str
) -> Figure:
    columns, rows = (sorted({place[axis] for place in shares}) for axis in (0, 1))
    cells = np.array([[shares.get((column, row), np.nan) for column in columns] for row in rows])
    figure = Figure(figsize=(1.8 + 0.62 * len(columns), 1.7 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.pcolormesh(cells, cmap=_COLORS, vmin=0, vmax=1, edgecolors="#E4E4E4", linewidth=0.6)
    for (row, column), share in np.ndenumerate(cells):
        if np.isfinite(share):
            color = "#FFFFFF" if share > 0.6 else "#000000"
            axes.text(column + 0.5, row + 0.5, _share(share), ha="center", va="center", fontsize=8.5, color=color)
    axes.set_xticks(np.arange(len(columns)) + 0.5, _names(columns))
    axes.set_yticks(np.arange(len(rows)) + 0.5, _names(rows))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set(xlabel=across, ylabel=upwards)
    figure.colorbar(drawn, ax=axes, label=label, ticks=[0, 0.5, 1])
    figure.suptitle(title, x=0.012, ha="left", fontsize=11)
    return figure


def _share(share: float) -> str:
    return "1" if share == 1 else "0" if share == 0 else f"{share:.2f}".lstrip("0")


def _names(values: Sequence[float]) -> list[str]:
    return [f"{value:.0e}".replace("e+0", "e") if value >= 1000 else f"{value:g}" for value in values]
