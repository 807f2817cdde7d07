"""What an error costs: time and parameters against error, with the runs that no other run beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from eckart.reports import axes
from eckart.reports.axes import color_of, shape_of, size_of
from eckart.reports.lines import Lines
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reports.record import Record
from eckart.results.numbers import fixed, short

_POINTS = 1200


@dataclass(frozen=True)
class Trade:
    """A cost and what it buys.

    Attributes:
        key: Name of the plot.
        cost: Field of the cost.
        cost_title: Title of its axis.
        gain: Field of what it buys.
        gain_title: Title of its axis.
        said: Title of the plot.
        rises: Whether more of the gain is better.
    """

    key: str
    cost: str
    cost_title: str
    gain: str
    gain_title: str
    said: str
    rises: bool = False


TRADES = (
    Trade(
        "time-error",
        "fit_seconds",
        "seconds of training",
        "relative_frobenius",
        "relative Frobenius error",
        "What an error costs in time",
    ),
    Trade(
        "parameters-error",
        "parameters",
        "parameters",
        "relative_frobenius",
        "relative Frobenius error",
        "What an error costs in parameters",
    ),
    Trade(
        "parameters-accuracy",
        "parameters",
        "parameters",
        "accuracy",
        "test accuracy, fraction correct",
        "What accuracy costs in parameters",
        rises=True,
    ),
)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other point beats in both coordinates, by rising first coordinate.

    Args:
        points: Cost and error of each; less is better of both.

    Example:
        >>> front([(1.0, 5.0), (2.0, 6.0), (3.0, 1.0), (3.0, 2.0)])
        [0, 2]
    """
    best, kept = float("inf"), []
    for place in sorted(range(len(points)), key=lambda place: points[place]):
        if points[place][1] < best:
            best = points[place][1]
            kept.append(place)
    return kept


def plots(records: Sequence[Record], lines: Lines) -> list[Plot]:
    """The plots that the runs have numbers for."""
    return [plot for trade in TRADES if (plot := _plot(trade, records, lines)) is not None]


def _plot(trade: Trade, records: Sequence[Record], lines: Lines) -> Plot | None:
    rows = _rows(trade, records, lines)
    if len({row["cost"] for row in rows}) < 2:
        return None
    fronts = {}
    for panel in lines.panels:
        inside = [row for row in rows if row["panel"] == panel]
        sign = -1 if trade.rises else 1
        fronts[panel] = [inside[place] for place in front([(row["cost"], sign * row["gain"]) for row in inside])]
    shown = rows if len(rows) <= _POINTS else [rows[place * len(rows) // _POINTS] for place in range(_POINTS)]
    x = axes.cost_axis("cost", trade.cost_title, [row["cost"] for row in rows])
    y = axes.quantity("gain", trade.gain_title, [row["gain"] for row in rows], zero=False)
    tooltip = [alt.Tooltip("name:N", title="run"), alt.Tooltip("line:N"), alt.Tooltip("rank:Q")]
    tooltip += [
        alt.Tooltip("cost:Q", title=trade.cost_title, format=".4~g"),
        alt.Tooltip("gain:Q", title=trade.gain_title, format=".5~g"),
    ]
    best = alt.Chart(alt.NamedData("front"))
    layers = [
        best.mark_line(interpolate="step-after", strokeDash=[2, 3], strokeWidth=1.5, color="currentColor").encode(
            x=x, y=y
        ),
        alt.Chart(alt.NamedData("points"))
        .mark_point(filled=True, opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=color_of(lines.domain),
            shape=shape_of(lines.domain),
            size=size_of(),
            tooltip=tooltip,
        ),
        best.mark_point(size=230, strokeWidth=1.4, stroke="currentColor", opacity=1).encode(x=x, y=y, tooltip=tooltip),
    ]
    said = f"{trade.said}: the ringed runs are beaten by no other in both"
    part = f" {len(shown)} of {len(rows)} runs, evenly chosen, and the ringed ones are drawn."
    return Plot(
        trade.key,
        {panel: said for panel in lines.panels if fronts[panel]},
        "A mark is a run. Ringed and joined: the Pareto front, runs that no other run beats in both axes."
        + part * (len(shown) < len(rows)),
        styled(alt.layer(*layers)),
        {"points": shown, "front": [row for rows in fronts.values() for row in rows]},
        Numbers(
            ["data", "run of the front", trade.cost_title, trade.gain_title],
            [
                [panel, row["name"], short(row["cost"]), fixed(row["gain"], 6)]
                for panel, rows in fronts.items()
                for row in rows
            ],
        ),
        labels=lines.domain,
    )


def _rows(trade: Trade, records: Sequence[Record], lines: Lines) -> list[dict[str, Any]]:
    rows = []
    for record in records:
        line = lines.line(record)
        cost, gain = record.number(trade.cost), record.number(trade.gain)
        if line is None or record.status != "completed" or cost is None or gain is None:
            continue
        # A classifier's error is that of its inputs, which it does not train.
        if trade.gain == "relative_frobenius" and record.number("accuracy") is not None:
            continue
        told = {"name": record.name, "rank": record.fields["rank"], "cost": cost, "gain": gain}
        rows.append(lines.row(line) | told)
    return rows
