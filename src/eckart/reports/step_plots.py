"""Errors, loss and accuracy against steps, one curve for each run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from eckart.reports import axes
from eckart.reports.axes import FLOOR, color_of
from eckart.reports.lines import Lines
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reports.record import Record
from eckart.results.numbers import short

_EPOCHS = 16
RUNS = 300
"""Runs whose curves are on a page at most."""


_BEYOND = 10
_ERROR, _LOSS = "relative Frobenius error", "training loss"


@dataclass(frozen=True)
class Axis:
    """What is drawn against steps, or against epochs.

    Attributes:
        key: Name of the plot.
        history: Name in ``history.csv``.
        title: Title of the axis.
        said: Title of the plot.
        epochs: Whether it is drawn against epochs, for the runs that count them.
    """

    key: str
    history: str
    title: str
    said: str
    epochs: bool = False

    @property
    def log(self) -> bool:
        """Whether its scale is logarithmic."""
        return "accuracy" not in self.history


AXES = (
    Axis("loss-epoch", "train/loss", _LOSS, "Training loss by epoch", epochs=True),
    Axis("validation-epoch", "validation_accuracy", "accuracy on held-out samples", "Validation accuracy", epochs=True),
    Axis("accuracy-epoch", "accuracy", "test accuracy, fraction correct", "Test accuracy by epoch", epochs=True),
    Axis("error-step-2norm", "relative_2norm", "relative 2-norm error", "Relative 2-norm error by step"),
    Axis("error-step-frobenius", "relative_frobenius", _ERROR, "Relative Frobenius error by step"),
    Axis("excess-step", "excess_frobenius", "excess of the Frobenius error", "Excess over the optimum by step"),
    Axis("loss-step", "train/loss", _LOSS, "Training loss by step"),
    Axis("held-out-step", "relative_held_out", "relative error, held out", "Error on held-out entries by step"),
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
    """The page's curves of runs of eckart, by name of the plot: the run, its steps and its values, of each run.

    A quantity of which a run has a single value is in no curve.
    """
    found: dict[str, Any] = {}
    for axis in AXES:
        series = []
        for place, record in records.items():
            if record.ours and lines.line(record) is not None:
                steps, values = _curve(axis, record)
                if len(steps) > 1:
                    series.append([place, steps, values])
        if series:
            found[axis.key] = _within(series, records)
    return found


def plots(series: Mapping[str, Any], lines: Lines, records: Sequence[Record], *, epochs: bool) -> list[Plot]:
    """A plot for each quantity that has curves, against epochs or against steps."""
    axes_ = [axis for axis in AXES if axis.epochs == epochs and axis.key in series]
    return [_plot(axis, series[axis.key], lines, records) for axis in axes_]


def _curve(axis: Axis, record: Record) -> tuple[Sequence[float], Sequence[float]]:
    steps, values = record.history.get(axis.history, ([], []))
    counted = dict(zip(*record.history.get("epoch", ([], [])), strict=True))
    if bool(counted) != axis.epochs:
        return [], []
    if axis.epochs and record.axes.get(axis.history) != "epoch":
        pairs = [(counted[step], value) for step, value in zip(steps, values, strict=True) if step in counted]
        return [epoch for epoch, _ in pairs], [value for _, value in pairs]
    return steps, values


def _within(series: list[Any], records: Mapping[int, Record]) -> list[Any]:
    """Curves of runs that did not complete, up to where they leave the scale of those that did."""
    largest = max((max(values) for run, _, values in series if records[run].status == "completed"), default=None)
    if largest is None or largest <= 0:
        return series
    cut = []
    for run, steps, values in series:
        end = len(values)
        if records[run].status != "completed":
            end = next((place for place, value in enumerate(values) if value > _BEYOND * largest), end)
        cut.append([run, steps[:end], values[:end]])
    return [curve for curve in cut if curve[1]]


def _plot(axis: Axis, series: Sequence[Any], lines: Lines, records: Sequence[Record]) -> Plot:
    x = _horizontal(axis, min(steps[0] for _, steps, _ in series), max(steps[-1] for _, steps, _ in series))
    y = _vertical(axis, series)
    tooltip = [alt.Tooltip("name:N", title="run"), alt.Tooltip("line:N"), alt.Tooltip("rank:Q")]
    tooltip.append(alt.Tooltip("step:Q", title="epoch" if axis.epochs else "step"))
    tooltip.append(alt.Tooltip("value:Q", title=axis.title, format=".4g"))
    base = alt.Chart(alt.NamedData("curves"))
    few = len(series) <= 12
    line = base.mark_line(strokeWidth=1.8 if few else 1.2, opacity=0.9 if few else 0.5).encode(
        x=x, y=y, color=color_of(lines.domain), detail="run:N", tooltip=tooltip
    )
    layers = [line]
    if axis.epochs:
        layers.append(base.mark_point(filled=True, size=22).encode(x=x, y=y, color=color_of(lines.domain)))
    caption = "A curve is a run; those that the table of runs shows are drawn, diverged ones as far as the scale goes."
    if len(records) > RUNS:
        caption += f" {RUNS} of the {len(records):,} runs, evenly chosen, have curves on this page."
    if axis.history.startswith("excess"):
        caption += f" Excesses up to {FLOOR:.0e} are drawn at {FLOOR:.0e}."
    unit = "epoch" if axis.epochs else "step"
    panels = {line.panel for place, *_ in series if (line := lines.line(records[place])) is not None}
    rows = []
    for place, steps, values in series:
        run = records[place]
        rows.append([run.name, short(steps[0]), short(values[0]), short(steps[-1]), short(values[-1])])
    return Plot(
        axis.key,
        {panel: axis.said for panel in lines.panels if panel in panels},
        caption,
        styled(alt.layer(*layers)),
        {},
        Numbers(["run", f"first {unit}", "value", f"last {unit}", "value"], rows),
        curves=axis.key,
        labels=lines.domain,
    )


def _horizontal(axis: Axis, first: float, last: float) -> alt.X:
    if axis.epochs:
        every = list(range(round(first), round(last) + 1))
        each: dict[str, Any] = {"values": every} if last - first < _EPOCHS else {}
        ticks = alt.Axis(format="d", tickMinStep=1, grid=False, **each)
        return alt.X("step:Q", title="epoch", scale=alt.Scale(zero=False, nice=False, padding=8), axis=ticks)
    powers = [10**power for power in range(len(str(int(last))))]
    values = [0, *(digit * power for power in powers for digit in ((1, 2, 5) if last < 1000 else (1,)))]
    return alt.X(
        "step:Q",
        title="step of the optimizer",
        scale=alt.Scale(type="symlog", constant=1, nice=False),
        axis=alt.Axis(
            values=[value for value in values if value <= last], labelExpr="format(datum.value, '~s')", grid=False
        ),
    )


def _vertical(axis: Axis, series: Sequence[Any]) -> alt.Y:
    values = [value for _, _, curve in series for value in curve]
    if axis.history.startswith("excess"):
        return axes.excess("value", axis.title, values)
    positive = [value for value in values if value > 0]
    if axis.log and positive:
        return axes.logarithmic("value", axis.title, positive)
    return alt.Y("value:Q", title=axis.title, scale=alt.Scale(zero=False, padding=8))
