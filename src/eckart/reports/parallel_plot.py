"""Parallel coordinates: what was swept, and what came of it, one polyline for each run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from eckart.printable import printable
from eckart.reports.axes import FLOOR, decades, spans
from eckart.reports.lines import Lines
from eckart.reports.plot import Plot, styled
from eckart.reports.record import Record, is_number
from eckart.results.numbers import NONE, short
from eckart.results.settings import decides, differing, hashable

_LEVELS = [f"var(--level-{number})" for number in range(1, 7)]
_RUNS = 300
_AXES = 7
_CHOICES = 24
_OUTCOMES = (
    ("accuracy", "accuracy"),
    ("excess_frobenius", "Frobenius excess"),
    ("relative_held_out", "held-out error"),
    ("relative_frobenius", "Frobenius error"),
    ("loss", "loss"),
)


@dataclass(frozen=True)
class _Dimension:
    """An axis: its title, the place of each run on it between 0 and 1, and its labels."""

    title: str
    places: list[float | None]
    labels: list[tuple[float, str]]


def plot(records: Sequence[Record], lines: Lines) -> Plot | None:
    """The plot over the settings that were swept; None where fewer than two were, or no run completed."""
    runs = [record for record in records if record.ours and record.status == "completed" and lines.line(record)]
    names = _swept(runs)
    outcome = max(_OUTCOMES, key=lambda item: _known(runs, item[0]))
    if len(names) < 2 or not _known(runs, outcome[0]):
        return None
    chosen = runs if len(runs) <= _RUNS else [runs[place * len(runs) // _RUNS] for place in range(_RUNS)]
    dimensions = [dimension(name, [record.settings.get(name) for record in chosen]) for name in names]
    results = [_outcome(record, outcome[0]) for record in chosen]
    dimensions.append(dimension(outcome[1], results))
    places = {id(record): place for place, record in enumerate(records)}
    rows = [
        {"run": places[id(run)], "name": run.name, "axis": axis.title, "order": order, "place": axis.places[row]}
        | {"level": _level(dimensions[-1].places[row]), "said": short(results[row])}
        for row, run in enumerate(chosen)
        for order, axis in enumerate(dimensions)
        if axis.places[row] is not None and results[row] is not None
    ]
    labels = [
        {"axis": axis.title, "place": place, "label": label} for axis in dimensions for place, label in axis.labels
    ]
    part = f" {len(chosen)} of {len(runs)} runs, evenly chosen, are drawn." if len(chosen) < len(runs) else ""
    return Plot(
        "parallel-coordinates",
        {"": f"What was swept, and the {outcome[1]} that came of it"},
        f"A line is a run that completed, across its settings to its {outcome[1]}, which also colors it, from blue for "
        f"low to orange for high. A filter of the table of runs also filters the lines.{part}",
        styled(_chart([axis.title for axis in dimensions], outcome[1]), height=360),
        {"runs": rows, "labels": labels},
        wide=True,
    )


def dimension(name: str, values: Sequence[Any]) -> _Dimension:
    """Where values are on an axis between 0 and 1: numbers by size, all others at equal distances.

    Example:
        >>> dimension("rank", [1, 10, 100]).places
        [0.0, 0.5, 1.0]
        >>> dimension("method", ["svd", None, "svd", "adam"]).labels
        [(0.0, 'adam'), (0.5, 'svd'), (1.0, '–')]
    """
    title = printable(name.removesuffix("._target_"), 40)
    numbers = [value for value in values if is_number(value)]
    if len(set(numbers)) > 1 and all(value is None or is_number(value) for value in values):
        log = spans(numbers, 20)
        scaled = [None if value is None else math.log10(value) if log else float(value) for value in values]
        known = [value for value in scaled if value is not None]
        low, high = min(known), max(known)
        distinct = sorted(set(zip(known, numbers, strict=True)))
        if len(distinct) > 8:
            distinct = _ticks(low, high, log=log, whole=all(isinstance(value, int) for value in numbers))
        labels = [((place - low) / (high - low), f"{value:.3g}") for place, value in distinct]
        places = [None if place is None else round((place - low) / (high - low), 5) for place in scaled]
        return _Dimension(title, places, labels)
    texts = [NONE if value is None else _text(name, value) for value in values]
    kinds = sorted(set(texts), key=lambda text: (text == NONE, text))
    step = 1 / max(1, len(kinds) - 1)
    where = {kind: round(order * step, 5) if len(kinds) > 1 else 0.5 for order, kind in enumerate(kinds)}
    return _Dimension(title, [where[text] for text in texts], [(where[kind], kind) for kind in kinds[:_CHOICES]])


def _ticks(low: float, high: float, *, log: bool, whole: bool) -> list[tuple[float, float]]:
    if log:
        return [(math.log10(value), value) for value in decades(10**low, 10**high) if low <= math.log10(value) <= high]
    if whole:
        # There is no seed 5.6.
        return [(tick, tick) for tick in range(int(low), int(high) + 1, math.ceil((high - low) / 5))]
    return [(tick, tick) for tick in (low + (high - low) * part / 5 for part in range(6))]


def _chart(titles: Sequence[str], outcome: str) -> Any:
    x = alt.X(
        "axis:N",
        sort=list(titles),
        title=None,
        scale=alt.Scale(type="point", domain=list(titles), padding=0.35),
        axis=alt.Axis(
            orient="top",
            domain=False,
            ticks=False,
            labelAngle=0,
            labelFontWeight="bold",
            grid=True,
            gridOpacity=0.5,
            labelOverlap=False,
            labelLimit=max(70, 700 // len(titles)),
        ),
    )
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, padding=6))
    levels = list(range(len(_LEVELS)))
    color = alt.Color("level:O", legend=None, scale=alt.Scale(domain=levels, range=_LEVELS))
    tooltip = [alt.Tooltip("name:N", title="run"), alt.Tooltip("said:N", title=outcome)]
    line = (
        alt.Chart(alt.NamedData("runs"))
        .mark_line(strokeWidth=1.3, opacity=0.6)
        .encode(x=x, y=y, color=color, detail="run:N", order="order:Q", tooltip=tooltip)
    )
    label = (
        alt.Chart(alt.NamedData("labels"))
        .mark_text(align="left", dx=6, fontSize=11.5, stroke="var(--paper)", strokeWidth=7)
        .encode(x=x, y=y, text="label:N")
    )
    return alt.layer(line, label)


def _level(place: float | None) -> int:
    return min(len(_LEVELS) - 1, int((place or 0.0) * len(_LEVELS)))


def _swept(runs: Sequence[Record]) -> list[str]:
    jobs = [{name: value for name, value in run.settings.items() if decides(name)} for run in runs]
    names = [name for name in differing(jobs) if len({hashable(job.get(name)) for job in jobs}) > 1]
    return names[:_AXES]


def _known(runs: Sequence[Record], name: str) -> int:
    """How many runs have a number; 0 where all have the same."""
    values = [value for run in runs if (value := _outcome(run, name)) is not None]
    return len(values) if len(set(values)) > 1 else 0


def _outcome(run: Record, name: str) -> float | None:
    value = run.number(name)
    return value if value is None or not name.startswith("excess") else max(value, FLOOR)


def _text(name: str, value: Any) -> str:
    text = str(value).rpartition(".")[2] if name.endswith("._target_") else str(value)
    return printable(text, 24)
