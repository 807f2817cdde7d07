"""Plots of the reproduction: each document's values beside those that are trained here."""

import re
from collections.abc import Sequence
from typing import Any

import altair as alt

from eckart.reports.axes import COLORS, SHAPES, quantity
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reproduction import table
from eckart.reproduction.table import Entry
from eckart.reproduction.verdicts import Verdict
from eckart.results.numbers import short

FEW = 4
"""Values of a claim that a table shows well enough; a claim with more has a plot."""
_VERDICTS = {Verdict.REPRODUCED: (2, 0), Verdict.UNDECIDED: (4, 1), Verdict.NOT_REPRODUCED: (1, 3)}
_LEAST = 0.1
"""Least ratio that is shown: a deviation can be larger than its mean."""
_SERIES = ("document", "its recipe, here", "our recipe")


def overview(entries: Sequence[Entry]) -> Plot | None:
    """All values of all documents: the mean here, divided by the document's value; None where there is none.

    Args:
        entries: The table.
    """
    rows: list[dict[str, Any]] = [
        {
            "claim": entry.experiment,
            "value": f"{table.quantity(entry.quantity)}, {entry.place}".removesuffix(", "),
            "document": entry.document,
            "here": entry.here[0],
            "ratio": entry.here[0] / entry.document,
            "low": max((entry.here[0] - entry.here[1]) / entry.document, _LEAST),
            "high": max((entry.here[0] + entry.here[1]) / entry.document, _LEAST),
            "verdict": str(entry.verdict),
        }
        for entry in entries
        if isinstance(entry.document, float) and entry.document > 0 and entry.here[0] > 0
    ]
    if not rows:
        return None
    reproduced = sum(row["verdict"] == Verdict.REPRODUCED for row in rows)
    x = alt.X(
        "ratio:Q",
        title="mean here ÷ the document's value",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(tickCount=6, format="~r"),
    )
    y = alt.Y("claim:N", title=None, sort=None, axis=alt.Axis(labelLimit=170, grid=True))
    color = alt.Color("verdict:N", title=None, scale=_scale([COLORS[color] for color, _ in _VERDICTS.values()]))
    shape = alt.Shape("verdict:N", title=None, scale=_scale([SHAPES[shape] for _, shape in _VERDICTS.values()]))
    told = [alt.Tooltip(f"{name}:{kind}") for name, kind in (("claim", "N"), ("value", "N"), ("verdict", "N"))]
    told += [alt.Tooltip(f"{name}:Q", format=".4g") for name in ("document", "here", "ratio")]
    base = alt.Chart(alt.NamedData("values"))
    layers = [
        alt.Chart(alt.NamedData("one")).mark_rule(strokeDash=[6, 4]).encode(x="ratio:Q"),
        base.mark_rule(opacity=0.45).encode(x=x, x2="high:Q", y=y).transform_calculate(ratio="datum.low"),
        base.mark_point(filled=True, size=70, opacity=0.9).encode(x=x, y=y, color=color, shape=shape, tooltip=told),
    ]
    height = 26 * len({row["claim"] for row in rows}) + 20
    return Plot(
        "overview",
        {"": f"Of {len(rows)} numbers, {reproduced} are reproduced: on the dashed line, mean and document are equal"},
        "Each mark is one value of a document: the mean over seeds of its own recipe, trained here, divided by the "
        "value that it gives. Lines span one standard deviation to each side.",
        styled(alt.layer(*layers), height),
        {"values": rows, "one": [{"ratio": 1.0}]},
        Numbers(
            ["claim", "value", "document", "here", "verdict"],
            [[row["claim"], row["value"], short(row["document"]), short(row["here"]), row["verdict"]] for row in rows],
            "in the tables below",
        ),
    )


def of_claim(entries: Sequence[Entry]) -> Plot | None:
    """The values of one claim, by rank or by the setting that is varied; None for a claim with few values.

    Args:
        entries: The lines of the table that belong to it.
    """
    given = [entry for entry in entries if isinstance(entry.document, float)]
    if len(given) <= FEW:
        return None
    ranks = [re.fullmatch(r"rank (\d+)", entry.value_of) for entry in given]
    by_rank = all(ranks)
    rows: list[dict[str, Any]] = []
    for entry, rank in zip(given, ranks, strict=True):
        place = {"at": int(rank[1]) if by_rank and rank else entry.place.rpartition("=")[2]}
        for series, (mean, deviation, _) in zip(
            _SERIES, ((float(entry.document or 0), 0.0, 0.0), entry.here, entry.ours), strict=True
        ):
            # A difference of rounding's size, of either sign, is none.
            mean = mean if abs(mean) > table.ROUNDING else 0.0
            rows.append(place | {"series": series, "mean": mean, "low": mean - deviation, "high": mean + deviation})
    name = table.quantity(given[0].quantity)
    y = quantity("mean", name, [row["mean"] for row in rows])
    ticks, padded = alt.Axis(tickMinStep=1, grid=False), alt.Scale(zero=False, nice=False, padding=14)
    x = alt.X("at:Q", title="rank", axis=ticks, scale=padded) if by_rank else alt.X("at:N", title=None, sort=None)
    domain = list(_SERIES)
    agreed = sum(entry.verdict is Verdict.REPRODUCED for entry in given)
    color = alt.Color("series:N", title=None, scale=alt.Scale(domain=domain, range=["currentColor", *COLORS[:2]]))
    shape = alt.Shape("series:N", title=None, scale=alt.Scale(domain=domain, range=[SHAPES[3], *SHAPES[:2]]))
    told = [alt.Tooltip("series:N"), alt.Tooltip("at:N", title="at"), alt.Tooltip("mean:Q", format=".4g")]
    base = alt.Chart(alt.NamedData("values"))
    optimum = [{"at": row["at"], "mean": entry.optimum} for row, entry in zip(rows[::3], given, strict=True)]
    known = [row for row in optimum if row["mean"] is not None]
    layers = [
        base.mark_rule(opacity=0.5, strokeWidth=1.5).encode(
            x=x, y=alt.Y("low:Q", title=name), y2="high:Q", color=color
        ),
        base.mark_point(filled=True, size=75, opacity=0.95).encode(x=x, y=y, color=color, shape=shape, tooltip=told),
    ]
    if by_rank and known:
        layers.insert(
            0, alt.Chart(alt.NamedData("optimum")).mark_line(strokeDash=[6, 4], color="currentColor").encode(x=x, y=y)
        )
    return Plot(
        f"claim-{given[0].experiment}",
        {"": f"{name[0].upper()}{name[1:]}: {agreed} of {len(given)} values are reproduced"},
        "Diamonds: the document. Marks with lines: mean and standard deviation over seeds of its recipe and of ours, "
        "trained here." + (" Dashed: the optimum." if by_rank and known else ""),
        styled(alt.layer(*layers)),
        {"values": rows, "optimum": known if by_rank else []},
    )


def _scale(colors: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=[str(verdict) for verdict in _VERDICTS], range=list(colors))
