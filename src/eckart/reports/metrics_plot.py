"""Metrics by step of runs of other programs, one metric at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from eckart.printable import printable
from eckart.reports.axes import COLORS, color_of
from eckart.reports.curves import evenly
from eckart.reports.markup import Markup, element
from eckart.reports.plot import Plot, styled
from eckart.reports.record import Record
from eckart.reports.step_plots import RUNS

PREFIX = "metric "
_METRICS = 200
_POINTS = 150_000
_LEAST = 8


def curves(records: Mapping[int, Record]) -> dict[str, Any]:
    """The page's curves of runs of other programs: by metric the run, its steps and its values, of each run.

    Args:
        records: The runs whose curves are shown, by their place.
    """
    found: dict[str, list[Any]] = {}
    for place, record in records.items():
        if not record.ours:
            for name, (steps, values) in record.history.items():
                if len(steps) > 1 and name != "_timestamp":
                    found.setdefault(name, []).append([place, steps, values])
    # What most runs have comes first; what W&B measures of the machine begins with an underscore or system.
    names = sorted(found, key=lambda name: (name.startswith(("_", "system")), -len(found[name]), name))[:_METRICS]
    count = sum(len(found[name]) for name in names)
    points = max(_LEAST, _POINTS // max(1, count))
    return {
        PREFIX + printable(name, 120): [
            [place, [steps[kept] for kept in chosen], [values[kept] for kept in chosen]]
            for place, steps, values in found[name]
            for chosen in [evenly(len(steps), points)]
        ]
        for name in names
    }


def colors(records: Sequence[Record]) -> list[str]:
    """The label that each run of another program is colored by: its name, or its group, as far as there are colors."""
    runs = [record for record in records if not record.ours]
    for labels in (
        [record.name for record in runs],
        [record.identity.get("group", "") for record in runs],
        [record.identity.get("job_type", "") for record in runs],
    ):
        if 1 < len(set(labels)) <= len(COLORS):
            told = iter(labels)
            return ["" if record.ours else printable(next(told) or "none", 60) for record in records]
    return ["" if record.ours else "runs" for record in records]


def plot(series: Mapping[str, Any], records: Sequence[Record]) -> Plot | None:
    """The plot, which shows the first metric until another is chosen; None where no run has curves."""
    names = [name for name in series if name.startswith(PREFIX)]
    if not names:
        return None
    domain = sorted({label for label in colors(records) if label})
    x = alt.X("step:Q", title="step", scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(format="~s", grid=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, padding=8))
    tooltip = [alt.Tooltip("name:N", title="run"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".6~g")]
    base = alt.Chart(alt.NamedData("curves"))
    runs = {place for place, *_ in series[names[0]]}
    line = base.mark_line(strokeWidth=1.8 if len(runs) < 12 else 1.2, opacity=0.85 if len(runs) < 12 else 0.5)
    layers = alt.layer(line.encode(x=x, y=y, color=color_of(domain), detail="run:N", tooltip=tooltip))
    return Plot(
        "metric-step",
        {"": names[0].removeprefix(PREFIX)},
        "A curve is a run; those that the table of runs shows are drawn."
        + f" {RUNS} of the {len(records):,} runs, evenly chosen, have curves on this page." * (len(records) > RUNS),
        styled(layers, height=360),
        {},
        curves=names[0],
        labels=domain,
    )


def markup(series: Mapping[str, Any], shown: Plot) -> Markup:
    """The section with the choice of the metric."""
    names = [name for name in series if name.startswith(PREFIX)]
    options = [element("option", name.removeprefix(PREFIX), value=name) for name in names]
    controls = element(
        "div",
        element("label", "Metric ", element("select", *options, id="metric")),
        element("label", element("input", type="checkbox", id="metric-log"), " logarithmic"),
        class_="controls",
    )
    return element("section", element("h2", "Metrics"), controls, shown.markup(), id="metrics")
