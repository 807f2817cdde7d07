"""What the accuracy of nets costs in parameters and in time, with what others published for the same net."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from eckart.printable import printable
from eckart.reports import axes
from eckart.reports.axes import color_of, shape_of, size_of
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reports.record import Record, is_number
from eckart.reports.trade_plots import front
from eckart.results.aggregate import Group, grouped
from eckart.results.nets import is_net
from eckart.results.numbers import fixed, short
from eckart.results.published import PUBLISHED, Published

_GAIN = "test accuracy, fraction correct"


def plots(records: Sequence[Record]) -> list[Plot]:
    """A plot of accuracy against parameters, and one against the time of a pass for each size of a batch.

    Args:
        records: Runs; those of nets that completed, with an accuracy, are drawn, as means over their seeds.

    Returns:
        The plots that have at least two different points.
    """
    nets = [
        record.fields
        for record in records
        if record.ours and record.status == "completed" and is_net(record.fields) and record.number("accuracy")
    ]
    groups = grouped(nets)
    title = "parameters, both factors and all biases"
    found = [_plot("parameters", title, "parameters", groups, _peers(nets))]
    for size in _sizes(nets):
        found.append(_plot(f"batch-{size}", f"seconds of a pass, batch {size}", f"time, batch {size}", groups, []))
    return [plot for plot in found if plot is not None]


def _plot(cost: str, title: str, said: str, groups: Sequence[Group], peers: Sequence[Published]) -> Plot | None:
    rows = [row for group in groups if (row := _row(group, cost)) is not None]
    if len({(row["cost"], row["mean"]) for row in rows}) < 2:
        return None
    domain = list(dict.fromkeys(row["color"] for row in rows))
    for row in rows:
        row["size"] = max(40, round(150 * 0.65 ** domain.index(row["color"])))
    best = [rows[place] for place in front([(row["cost"], -row["mean"]) for row in rows])]
    others = [
        {"method": peer.method, "cost": peer.parameters, "mean": peer.accuracy, "claimed": peer.claimed}
        | {"counted": "by its ranks" if peer.counted else "as published", "source": peer.source}
        for peer in peers
    ]
    x = axes.cost_axis("cost", title, [row["cost"] for row in (*rows, *others)])
    y = axes.quantity("mean", _GAIN, [row["mean"] for row in (*rows, *others)], zero=False)
    tooltip = [
        alt.Tooltip("name:N", title="run"),
        alt.Tooltip("seeds:Q"),
        alt.Tooltip("cost:Q", title=title, format=".4~g"),
        alt.Tooltip("mean:Q", title=_GAIN, format=".4f"),
        alt.Tooltip("deviation:Q", title="standard deviation", format=".2g"),
    ]
    theirs = [
        alt.Tooltip("method:N", title="published by"),
        alt.Tooltip("mean:Q", title=_GAIN, format=".4f"),
        alt.Tooltip("claimed:Q", title="parameters, published", format=",d"),
        alt.Tooltip("cost:Q", title="parameters, counted", format=",d"),
        alt.Tooltip("counted:N", title="counted"),
        alt.Tooltip("source:N"),
    ]
    line, points = alt.Chart(alt.NamedData("front")), alt.Chart(alt.NamedData("points"))
    published = alt.Chart(alt.NamedData("published"))
    layers: list[Any] = [
        line.mark_line(interpolate="step-after", strokeDash=[2, 3], strokeWidth=1.5, color="currentColor").encode(
            x=x, y=y
        ),
        points.mark_rule(opacity=0.6).encode(x=x, y=alt.Y("low:Q", title=_GAIN), y2="high:Q", color=color_of(domain)),
        points.mark_point(filled=True, opacity=0.85).encode(
            x=x, y=y, color=color_of(domain), shape=shape_of(domain), size=size_of(), tooltip=tooltip
        ),
    ]
    if others:
        layers += [
            published.mark_rule(strokeDash=[1, 3], color="currentColor", opacity=0.5).encode(
                x=alt.X("claimed:Q", title=title), x2="cost:Q", y=y
            ),
            published.mark_point(shape="diamond", size=45, color="currentColor", opacity=0.8).encode(
                x=x, y=y, tooltip=theirs
            ),
        ]
    caption = "A mark is the mean over the seeds of one net, a bar one standard deviation to each side. Joined: the "
    caption += "Pareto front, nets that no other beats in both axes."
    if others:
        caption += " Diamonds: what others published for the same net and data, at the parameters that their ranks have"
        caption += " with both factors and all biases; dotted, from the number that was published."
    rows_of_table = [[row["name"], str(row["seeds"]), short(row["cost"]), fixed(row["mean"], 4)] for row in best]
    return Plot(
        f"nets-{cost}",
        {"": f"What accuracy costs in {said}: no net beats {len(best)} of {len(rows)} in both"},
        caption,
        styled(alt.layer(*layers)),
        {"points": rows, "front": best, **({"published": others} if others else {})},
        Numbers(["net of the front", "seeds", title, _GAIN], rows_of_table),
        labels=domain,
    )


def _row(group: Group, cost: str) -> dict[str, Any] | None:
    """What the runs of a group are in a plot; None where one lacks the cost."""
    costs = [_cost(result, cost) for result in group.results]
    if any(value is None for value in costs):
        return None
    accuracies = [result["accuracy"] for result in group.results]
    mean = statistics.fmean(accuracies)
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    example = group.results[0]
    held_to = f"budget {example['budget']:g}" if is_number(example.get("budget")) else f"rank {example.get('rank')}"
    series = f"{printable(group.method, 60)}, {printable(_model(example) or 'net', 60)} on {printable(group.data, 60)}"
    return {
        "name": f"{series}, {held_to}",
        "color": series,
        "cost": statistics.median(value for value in costs if value is not None),
        "mean": mean,
        "deviation": deviation,
        "low": mean - (deviation or 0),
        "high": mean + (deviation or 0),
        "seeds": len(accuracies),
    }


def _cost(result: Mapping[str, Any], cost: str) -> float | None:
    value = result.get("parameters") if cost == "parameters" else _seconds(result).get(cost.removeprefix("batch-"))
    return value if is_number(value) else None


def _seconds(result: Mapping[str, Any]) -> Mapping[str, Any]:
    latency = result.get("latency")
    found = latency.get("factorized") if isinstance(latency, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _sizes(nets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Sizes of batches that were timed, the smallest first."""
    found = {size for result in nets for size in _seconds(result) if isinstance(size, str) and size.isdecimal()}
    return sorted(found, key=int)[:3]


def _model(result: Mapping[str, Any]) -> str:
    model = (result.get("config") or {}).get("model")
    return str((model or {}).get("_target_", "")).rpartition(".")[2] if isinstance(model, Mapping) else ""


def _peers(nets: Sequence[Mapping[str, Any]]) -> list[Published]:
    """What was published for the nets that were trained, on the same data."""
    trained = {(_model(result).lower(), result.get("data")) for result in nets}
    return [row for row in PUBLISHED if (row.model, row.data) in trained]
