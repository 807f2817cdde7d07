"""Errors, excess and accuracy against the rank, one line for each method."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import altair as alt

from eckart.reports import axes, chosen_ranks
from eckart.reports.axes import FLOOR, color_of, rank_axis, shape_of, size_of
from eckart.reports.lines import Line, Lines, Point
from eckart.reports.plot import Numbers, Plot, styled
from eckart.results.numbers import fixed, scientific

REACHED = 1e-9
"""An excess up to this one counts as the optimum in titles."""
NORMS = {"2norm": "2-norm", "frobenius": "Frobenius"}
_OPTIMUM = "SVD optimum"
# Share of the height of a plot in which a label below a point would lie on the axis.
_LOW = 0.12
_LABELS: tuple[tuple[str, Literal["top", "bottom"], int], ...] = (("below", "top", 6), ("above", "bottom", -6))
_SHOWN = (alt.Tooltip("line:N"), alt.Tooltip("rank:Q"), alt.Tooltip("seeds:Q"))
_DEVIATION = alt.Tooltip("deviation:Q", title="standard deviation", format=".2g")


def errors(lines: Lines, norm: str) -> Plot | None:
    """Relative error against rank, with the optimum as the floor; None where no run has the error.

    Args:
        lines: The lines.
        norm: ``2norm`` or ``frobenius``.
    """
    name = f"relative_{norm}"
    rows = _means(lines, name)
    if not rows:
        return None
    floor, chosen = _optimum(lines, norm), chosen_ranks.rows(lines, name)
    title = f"relative {NORMS[norm]} error"
    every = [row["mean"] for row in (*rows, *floor, *chosen)]
    y, sides = axes.quantity("mean", title, every), _sides([*rows, *floor, *chosen], log=axes.spans(every, 50))
    floor = [row | {"side": sides(row)} for row in floor]
    x = rank_axis([row["rank"] for row in (*rows, *chosen)])
    layers = _layers(lines, x, y, title, [*_SHOWN, alt.Tooltip("mean:Q", format=".6g"), _DEVIATION])
    if floor:
        best = alt.Chart(alt.NamedData("optimum"))
        told = [alt.Tooltip("label:N", title="line"), alt.Tooltip("rank:Q"), alt.Tooltip("mean:Q", format=".6g")]
        # Below the marks, whose tooltips a tick would take.
        layers[-1:-1] = [
            best.mark_line(strokeDash=[6, 4], strokeWidth=1.6, color="currentColor").encode(x=x, y=y),
            best.mark_tick(orient="horizontal", color="currentColor", thickness=2.5, size=20, opacity=1).encode(
                x=x, y=y, tooltip=told
            ),
            *(
                best.transform_filter(f"datum.first && datum.side == '{side}'")
                .mark_text(align="right", baseline=baseline, dx=-8, dy=dy, stroke="var(--paper)", strokeWidth=3)
                .encode(x=x, y=y, text="label:N")
                for side, baseline, dy in _LABELS
            ),
        ]
    return Plot(
        f"error-rank-{norm}",
        {panel: _error_title(lines, panel, norm) for panel in _panels(lines, rows)},
        "Line: mean over seeds; band: one standard deviation to each side. Dashed: the error of the truncated SVD, "
        f"the least that any approximation of this rank can have.{chosen_ranks.said(chosen)}",
        styled(alt.layer(*layers, *chosen_ranks.layers(chosen, x, y, lines.domain))),
        {"points": rows, "optimum": floor, **({"chosen": chosen} if chosen else {})},
        Numbers(
            ["data", "method", "rank", "seeds", "mean", "standard deviation", "optimum"],
            [
                [*_said(row), fixed(row["mean"], 6), scientific(row["deviation"]), fixed(row["optimum"], 6)]
                for row in rows
            ],
        ),
        labels=lines.domain,
    )


def excess(lines: Lines, norm: str) -> Plot | None:
    """Excess over the optimum against rank on a logarithmic scale; None where no run has it."""
    name = f"excess_{norm}"
    groups = _medians(lines, name)
    if not groups:
        return None
    runs = [
        {**_place(lines, line, point), "excess": value, "shown": max(value, FLOOR), "seed": run.fields.get("seed")}
        for line in lines.all
        for point in line.points
        for run in point.runs
        if run.status == "completed" and (value := run.number(name)) is not None
    ]
    title = f"excess of the {NORMS[norm]} error"
    y = axes.excess("shown", title, [row[part] for row in groups for part in ("low", "high")])
    x = rank_axis([row["rank"] for row in groups])
    parts = [alt.Tooltip(f"{part}:Q", format=".2e") for part in ("least", "median", "most")]
    dots = alt.Chart(alt.NamedData("runs")).mark_point(filled=True, size=14, opacity=0.45)
    layers = [dots.encode(x=x, y=y, color=color_of(lines.domain)), *_layers(lines, x, y, title, [*_SHOWN, *parts])]
    return Plot(
        f"excess-rank-{norm}",
        {panel: _excess_title(lines, panel, norm) for panel in _panels(lines, groups)},
        "Excess: relative error minus the optimum. Line: median over seeds; band: from the least to the largest; dots: "
        f"runs. Excesses up to {FLOOR:.0e}, also those that rounding makes negative, are drawn at {FLOOR:.0e}.",
        styled(alt.layer(*layers)),
        {"points": groups, "runs": _some(runs, 800)},
        Numbers(
            ["data", "method", "rank", "seeds", "least", "median", "largest"],
            [[*_said(row), *(scientific(row[part]) for part in ("least", "median", "most"))] for row in groups],
        ),
        labels=lines.domain,
    )


def accuracy(lines: Lines) -> Plot | None:
    """Accuracy of classifiers against rank; None where no run has one."""
    rows, chosen = _means(lines, "accuracy"), chosen_ranks.rows(lines, "accuracy")
    if not rows:
        return None
    x = rank_axis([row["rank"] for row in (*rows, *chosen)])
    title = "test accuracy, fraction correct"
    y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, padding=12))
    layers = _layers(lines, x, y, title, [*_SHOWN, alt.Tooltip("mean:Q", format=".4f"), _DEVIATION])
    return Plot(
        "accuracy-rank",
        {panel: _accuracy_title(rows, panel) for panel in _panels(lines, rows)},
        f"Line: mean over seeds; band: one standard deviation to each side.{chosen_ranks.said(chosen)}",
        styled(alt.layer(*layers, *chosen_ranks.layers(chosen, x, y, lines.domain))),
        {"points": rows, **({"chosen": chosen} if chosen else {})},
        Numbers(
            ["data", "method", "rank", "seeds", "mean", "standard deviation"],
            [[*_said(row), fixed(row["mean"], 4), fixed(row["deviation"], 4)] for row in rows],
        ),
        labels=lines.domain,
    )


def _layers(lines: Lines, x: alt.X, y: alt.Y, title: str, tooltip: list[alt.Tooltip]) -> list[Any]:
    """Band, line and marks of the rows ``points``; the fields of the band are ``low`` and ``high``."""
    base = alt.Chart(alt.NamedData("points"))
    color = color_of(lines.domain)
    low = alt.Y("low:Q", title=title)
    marks = {"color": color, "shape": shape_of(lines.domain), "size": size_of(), "tooltip": tooltip}
    return [
        base.mark_area(opacity=0.16).encode(x=x, y=low, y2="high:Q", color=color, detail="line:N"),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=color, detail="line:N"),
        base.mark_point(filled=True, opacity=1).encode(x=x, y=y, **marks),
    ]


def _place(lines: Lines, line: Line, point: Point) -> dict[str, Any]:
    return lines.row(line) | {"rank": point.rank}


def _said(row: dict[str, Any]) -> list[str]:
    return [row["panel"], row["line"], str(row["rank"]), str(row["seeds"])]


def _means(lines: Lines, name: str) -> list[dict[str, Any]]:
    rows = []
    for line in lines.all:
        for point in line.points:
            if values := point.values(name):
                mean = statistics.fmean(values)
                deviation = statistics.stdev(values) if len(values) > 1 else None
                best = point.values(name.replace("relative", "optimum"))
                rows.append(
                    _place(lines, line, point)
                    | {"mean": mean, "deviation": deviation, "seeds": len(values)}
                    # On a logarithmic scale a band has no place below 0.
                    | {"low": max(mean - (deviation or 0), mean / 10), "high": mean + (deviation or 0)}
                    | {"optimum": statistics.fmean(best) if best else None}
                )
    return rows


def _medians(lines: Lines, name: str) -> list[dict[str, Any]]:
    rows = []
    for line in lines.all:
        for point in line.points:
            if values := point.values(name):
                least, median, most = min(values), statistics.median(values), max(values)
                rows.append(
                    _place(lines, line, point)
                    | {"least": least, "median": median, "most": most, "seeds": len(values)}
                    | {"low": max(least, FLOOR), "shown": max(median, FLOOR), "high": max(most, FLOOR)}
                )
    return rows


def _optimum(lines: Lines, norm: str) -> list[dict[str, Any]]:
    """Mean optimum of the runs of each panel and rank, with a label at the first rank."""
    best: dict[str, dict[int, list[float]]] = {}
    for line in lines.all:
        for point in line.points:
            values = point.values(f"optimum_{norm}")
            if values:
                best.setdefault(line.panel, {}).setdefault(point.rank, []).extend(values)
    rows = []
    for panel, by_rank in best.items():
        labeled = sorted(by_rank)[len(by_rank) // 2]
        for rank in sorted(by_rank):
            mean = statistics.fmean(by_rank[rank])
            rows.append({"panel": panel, "rank": rank, "mean": mean, "label": _OPTIMUM, "first": rank == labeled})
    return rows


def _sides(rows: Sequence[Mapping[str, Any]], *, log: bool) -> Callable[[Mapping[str, Any]], str]:
    """On which side of its point a label is: below it, unless the horizontal axis is there."""

    def height(row: Mapping[str, Any]) -> float:
        return math.log10(row["mean"]) if log else float(row["mean"])

    ends: dict[str, tuple[float, float]] = {}
    for row in rows:
        low, high = ends.get(row["panel"], (height(row), height(row)) if log else (0.0, 0.0))
        ends[row["panel"]] = min(low, height(row)), max(high, height(row))

    def side(row: Mapping[str, Any]) -> str:
        low, high = ends[row["panel"]]
        return "above" if height(row) - low <= _LOW * (high - low) else "below"

    return side


def _some(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most so many rows, evenly chosen."""
    return rows if len(rows) <= count else [rows[place * len(rows) // count] for place in range(count)]


def _panels(lines: Lines, rows: Sequence[dict[str, Any]]) -> list[str]:
    shown = {row["panel"] for row in rows}
    return [panel for panel in lines.panels if panel in shown]


def _worst(lines: Lines, panel: str, norm: str) -> dict[str, tuple[float, int]]:
    """Largest median excess of each line, and its rank."""
    worst: dict[str, tuple[float, int]] = {}
    for row in _medians(lines, f"excess_{norm}"):
        if row["panel"] == panel:
            found = (max(row["median"], 0.0), row["rank"])
            worst[row["line"]] = max(worst.get(row["line"], found), found)
    return worst


def _error_title(lines: Lines, panel: str, norm: str) -> str:
    worst = _worst(lines, panel, norm)
    named = f"Relative {NORMS[norm]} error against rank"
    if not worst:
        return named
    label, (value, rank) = max(worst.items(), key=lambda item: item[1])
    if value <= REACHED:
        return f"{named}: {_all(worst)} on the optimum"
    return f"{named}: {label} is farthest above the optimum, by {value:.2g} at rank {rank}"


def _excess_title(lines: Lines, panel: str, norm: str) -> str:
    worst = _worst(lines, panel, norm)
    reached = [label for label, (value, _) in worst.items() if value <= REACHED]
    named = f"Excess of the {NORMS[norm]} error"
    if len(reached) == len(worst):
        largest = max(value for value, _ in worst.values())
        return f"{named}: at most {scientific(max(largest, FLOOR))}, at every rank"
    if len(worst) == 1:
        return f"{named}: the optimum is not reached at every rank"
    return f"{named}: {len(reached)} of {len(worst)} lines reach the optimum at every rank"


def _all(lines: dict[str, tuple[float, int]]) -> str:
    return "the line lies" if len(lines) == 1 else "all lines lie"


def _accuracy_title(rows: Sequence[dict[str, Any]], panel: str) -> str:
    best = max((row for row in rows if row["panel"] == panel), key=lambda row: row["mean"])
    return f"Test accuracy against rank: at best {best['mean']:.3f}, at rank {best['rank']}"
