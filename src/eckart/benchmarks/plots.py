"""Plots of how costs grow: a line for each contender."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator

from eckart.benchmarks.case import Point
from eckart.benchmarks.record import Record
from eckart.results.style import BLACK, BLUE, GRAY, GREEN, ORANGE, PURPLE, STYLE, VERMILLION, save

# Letters of a title in a line.
_LINE = 70
# Powers of ten from the first to the last tick, from which on the ticks between them have no numbers.
_MANY = 2.5
_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, BLACK, GRAY)


def draw(folder: Path, records: Iterable[Record]) -> dict[str, str]:
    """Draw a picture for each plot that records are points of.

    Args:
        folder: Where ``images/`` is.
        records: All that was measured.

    Returns:
        What there is to see, by the path of the picture from the folder.
    """
    plots: dict[str, list[Record]] = {}
    for record in records:
        if record.point is not None:
            plots.setdefault(record.point.plot, []).append(record)
    drawn = {}
    for name, found in plots.items():
        path = save(_figure(found), folder / "images" / f"benchmark_{name}.png")
        drawn[path.relative_to(folder).as_posix()] = _point(found[0]).title
    return drawn


@matplotlib.rc_context(STYLE)
def _figure(records: list[Record]) -> Figure:
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, points), color in zip(_series(records).items(), _COLORS * 3, strict=False):
        axes.plot(list(points), list(points.values()), marker="o", markersize=4, linewidth=1.6, color=color, label=name)
    axes.set(xscale="log", yscale="log", xlabel=_point(records[0]).label, ylabel="time")
    places = sorted({_point(record).x for record in records})
    axes.set_xticks(places, [f"{x:,.0f}" for x in places])
    axes.xaxis.set_minor_locator(NullLocator())
    _times(axes.yaxis)
    axes.legend(fontsize=8)
    figure.suptitle(textwrap.fill(_point(records[0]).title, _LINE), x=0.012, ha="left", fontsize=11)
    return figure


def _times(axis: Axis) -> None:
    """Times with their units, at 1, 2 and 5 of each power of ten where there are few."""
    low, high = axis.get_view_interval()
    few = math.log10(high / low) < _MANY
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_major_formatter(EngFormatter(unit="s", sep=" "))
    axis.set_minor_formatter(NullFormatter())


def _series(records: Iterable[Record]) -> Mapping[str, Mapping[float, float]]:
    """Seconds by x, for each contender, ours first."""
    found: dict[str, dict[float, float]] = {}
    for record in sorted(records, key=lambda record: _point(record).x):
        for line in record.lines:
            if line.seconds:
                found.setdefault(line.name, {})[_point(record).x] = line.median
    return found


def _point(record: Record) -> Point:
    assert record.point is not None
    return record.point
