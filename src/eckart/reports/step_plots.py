"""Errors, loss and accuracy against steps, one curve for each run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from eckart.reports import axes
from eckart.reports.axes import FLOOR, color_of
from eckart.reports.lines import Lines
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reports.record import Record
from eckart.results.numbers import short

RUNS = 300
"""Runs whose curves are on a page at most."""


@dataclass(frozen=True)
class Axis:
    """What is drawn against steps, or epochs.

    Attributes:
        key: Name of the plot.
        history: Name in ``history.csv``.
        title: Title of the axis.
        said: Title of the plot.
        log: Whether its scale is logarithmic.
    """

    key: str
    history: str
    title: str
    said: str
    log: bool = True


AXES = (
    Axis("error-step-frobenius", "relative_frobenius", "relative Frobenius error", "How the Frobenius error falls"),
    Axis("error-step-2norm", "relative_2norm", "relative 2-norm error", "How the 2-norm error falls"),
    Axis("excess-step", "excess_frobenius", "excess of the Frobenius error", "How the excess over the optimum falls"),
    Axis("loss-step", "train/loss", "training loss", "How the training loss falls"),
    Axis("accuracy-step", "accuracy", "test accuracy, fraction correct", "How the accuracy rises", log=False),
    Axis(
        "held-out-step",
        "relative_held_out",
        "relative error, held-out entries",
        "How the held-out error falls",
    ),
)


def chosen(records: Sequence[Record]) -> list[int]:
    """Places of the runs whose curves are shown: all, or 300 that are evenly spread over the table.

    Example:
        >>> len(chosen([None] * 7)), len(chosen([None] * 10_000))
        (7, 300)
    """
    count = len(records)
    return list(range(count)) if count <= RUNS else [place * count // RUNS for place in range(RUNS)]


def curves(records: Mapping[int, Record], lines: Lines) -> dict[str, Any]:
    """The page's curves of runs of eckart, by name of the quantity: the run, its steps and its values, of each run.

    A quantity of which a run has a single value is in no curve.
    """
    found: dict[str, Any] = {}
    for axis in AXES:
        series = []
        for place, record in records.items():
            steps, values = record.history.get(axis.history, ([], []))
            if record.ours and len(steps) > 1 and lines.line(record) is not None:
                series.append([place, steps, values])
        if series:
            found[axis.history] = series
    return found


def plots(series: Mapping[str, Any], lines: Lines, records: Sequence[Record]) -> Iterable[Plot]:
    """A plot for each quantity that has curves."""
    for axis in AXES:
        if axis.history in series:
            yield _plot(axis, series[axis.history], lines, records)


def _plot(axis: Axis, series: Sequence[Any], lines: Lines, records: Sequence[Record]) -> Plot:
    last = max(steps[-1] for _, steps, _ in series)
    ticks = [0, *(10**power for power in range(len(str(int(last)))) if 10**power <= last)]
    x = alt.X(
        "step:Q",
        title="step of the optimizer",
        scale=alt.Scale(type="symlog", constant=1, nice=False),
        axis=alt.Axis(values=ticks, format="~s", grid=False),
    )
    y = _vertical(axis, series)
    tooltip = [alt.Tooltip("name:N", title="run"), alt.Tooltip("line:N"), alt.Tooltip("rank:Q")]
    tooltip += [alt.Tooltip("step:Q"), alt.Tooltip("value:Q", title=axis.title, format=".4g")]
    base = alt.Chart(alt.NamedData("curves"))
    few = len(series) <= 12
    line = base.mark_line(strokeWidth=1.8 if few else 1.2, opacity=0.9 if few else 0.5).encode(
        x=x, y=y, color=color_of(lines.domain), detail="run:N", tooltip=tooltip
    )
    layers = [line]
    if not axis.log:
        layers.append(base.mark_point(filled=True, size=22).encode(x=x, y=y, color=color_of(lines.domain)))
    caption = "A curve is a run; those that the table of runs shows are drawn."
    if axis.history.startswith("excess"):
        caption += f" Excesses up to {FLOOR:.0e} are drawn at {FLOOR:.0e}."
    rows = []
    for place, steps, values in series:
        run = records[place]
        rows.append([run.name, short(steps[0]), short(values[0]), short(steps[-1]), short(values[-1])])
    return Plot(
        axis.key,
        {"": axis.said},
        caption,
        styled(alt.layer(*layers)),
        {},
        Numbers(["run", "first step", "value", "last step", "value"], rows),
        curves=axis.history,
    )


def _vertical(axis: Axis, series: Sequence[Any]) -> alt.Y:
    values = [value for _, _, curve in series for value in curve]
    if axis.history.startswith("excess"):
        return axes.excess("value", axis.title, values)
    positive = [value for value in values if value > 0]
    if axis.log and positive:
        return axes.logarithmic("value", axis.title, positive)
    return alt.Y("value:Q", title=axis.title, scale=alt.Scale(zero=False, padding=8))
