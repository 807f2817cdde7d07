"""Plots of the reproduction: each document's values beside those that are trained here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from eckart.reports.plot import COLORS, SHAPES, Numbers, Plot, power, spans, styled
from eckart.reproduction import table
from eckart.reproduction.table import Entry
from eckart.reproduction.verdicts import Verdict
from eckart.results.numbers import short

FEW = 4
"""Values of a claim that a table shows well enough; a claim with more has a plot."""
_VERDICTS = {Verdict.REPRODUCED: (2, 0), Verdict.UNDECIDED: (4, 1), Verdict.NOT_REPRODUCED: (1, 3)}
_SERIES = ("document", "its recipe, here", "our recipe")


def overview(entries: Sequence[Entry]) -> Plot | None:
    """All values of all documents: the mean here, divided by the document's value; None where there is none.

    Args:
        entries: The table.
    """
    rows = [
        {
            "claim": entry.experiment,
            "value": f"{table.quantity(entry.quantity)} {entry.value_of}".strip(),
            "document": entry.document,
            "here": entry.here[0],
            "ratio": entry.here[0] / entry.document,
            "low": max(entry.here[0] - entry.here[1], 1e-3 * entry.document) / entry.document,
            "high": (entry.here[0] + entry.here[1]) / entry.document,
            "verdict": str(entry.verdict),
        }
        for entry in entries
        if isinstance(entry.document, float) and entry.document > 0 and entry.here[0] > 0
    ]
    if not rows:
        return None
    reproduced = sum(row["verdict"] == Verdict.REPRODUCED for row in rows)
    x = alt.X("ratio:Q", title="mean here ÷ the document's value", scale=alt.Scale(type="log", nice=False))
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
        {"": f"{reproduced} of {len(rows)} values are reproduced: at the dashed line, mean and document agree"},
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


def of_claim(headline: str, entries: Sequence[Entry]) -> Plot | None:
    """The values of one claim, by rank or by the setting that is varied; None for a claim with few values.

    Args:
        headline: The claim in one line.
        entries: The lines of the table that belong to it.
    """
    given = [entry for entry in entries if isinstance(entry.document, float)]
    if len(given) <= FEW:
        return None
    ranks = [re.fullmatch(r"rank (\d+)", entry.value_of) for entry in given]
    by_rank = all(ranks)
    rows: list[dict[str, Any]] = []
    for entry, rank in zip(given, ranks, strict=True):
        place = {"at": int(rank[1]) if by_rank and rank else entry.value_of.rpartition("=")[2]}
        for series, (mean, deviation, _) in zip(
            _SERIES, ((float(entry.document or 0), 0.0, 0.0), entry.here, entry.ours), strict=True
        ):
            rows.append(place | {"series": series, "mean": mean, "low": mean - deviation, "high": mean + deviation})
    name = table.quantity(given[0].quantity)
    log = spans([row["mean"] for row in rows], 50)
    axis: Mapping[str, Any] = power(name) if log else {"title": name}
    x = alt.X("at:Q", title="rank", axis=alt.Axis(tickMinStep=1)) if by_rank else alt.X("at:N", title=None, sort=None)
    y = alt.Y("mean:Q", scale=alt.Scale(type="log" if log else "linear"), **axis)
    domain = list(_SERIES)
    color = alt.Color("series:N", title=None, scale=alt.Scale(domain=domain, range=["currentColor", *COLORS[:2]]))
    shape = alt.Shape("series:N", title=None, scale=alt.Scale(domain=domain, range=[SHAPES[3], *SHAPES[:2]]))
    told = [alt.Tooltip("series:N"), alt.Tooltip("at:N", title="at"), alt.Tooltip("mean:Q", format=".4g")]
    base = alt.Chart(alt.NamedData("values"))
    optimum = [{"at": row["at"], "mean": entry.optimum} for row, entry in zip(rows[::3], given, strict=True)]
    known = [row for row in optimum if row["mean"] is not None and (row["mean"] > 0 or not log)]
    layers = [
        base.mark_rule(opacity=0.5, strokeWidth=1.5).encode(
            x=x, y=alt.Y("low:Q", title=axis["title"]), y2="high:Q", color=color
        ),
        base.mark_point(filled=True, size=75, opacity=0.95).encode(x=x, y=y, color=color, shape=shape, tooltip=told),
    ]
    if by_rank and known:
        layers.insert(0, alt.Chart(alt.NamedData("optimum")).mark_line(strokeDash=[6, 4]).encode(x=x, y=y))
    return Plot(
        f"claim-{given[0].experiment}",
        {"": headline},
        "Diamonds: the document. Marks with lines: mean and standard deviation over seeds of its recipe and of ours, "
        "trained here." + (" Dashed: the optimum." if by_rank and known else ""),
        styled(alt.layer(*layers)),
        {"values": rows, "optimum": known if by_rank else []},
    )


def _scale(colors: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=[str(verdict) for verdict in _VERDICTS], range=list(colors))
