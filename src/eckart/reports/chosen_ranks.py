"""Marks on curves over ranks: the ranks that rules chose, in runs with ``rank=auto``."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from eckart.reports.axes import color_of
from eckart.reports.lines import Lines


def rows(lines: Lines, name: str) -> list[dict[str, Any]]:
    """The ranks that rules chose, and the mean of a field there: of each line a row for each rule and rank.

    Each rule has one label in a panel, at the rank that it chose most often.
    """
    found: list[dict[str, Any]] = []
    for line in lines.all:
        for point in line.chosen:
            by_rule: dict[str, list[float]] = {}
            for run in point.runs:
                value = run.number(name)
                if run.status == "completed" and value is not None:
                    by_rule.setdefault(str(run.fields.get("rank_rule") or "auto"), []).append(value)
            for rule, values in by_rule.items():
                told = {"rule": rule, "mean": statistics.fmean(values), "seeds": len(values)}
                found.append({**lines.row(line), "rank": point.rank, **told, "label": "", "labeled": False})
    counts: dict[tuple[str, str], Counter[int]] = {}
    for row in found:
        counts.setdefault((row["panel"], row["rule"]), Counter())[row["rank"]] += row["seeds"]
    for (panel, rule), by_rank in counts.items():
        rank = by_rank.most_common(1)[0][0]
        own = [row for row in found if (row["panel"], row["rule"], row["rank"]) == (panel, rule, rank)]
        max(own, key=lambda row: row["mean"]).update(label=f"{rule}: rank {rank}", labeled=True)
    return found


def layers(found: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, domain: Sequence[str]) -> list[Any]:
    """Layers of a chart for the rows, its data ``chosen``: a ring and a dotted line at each rank; none for no rows."""
    if not found:
        return []
    base = alt.Chart(alt.NamedData("chosen"))
    told = [
        alt.Tooltip("line:N"),
        alt.Tooltip("rule:N", title="chosen by"),
        alt.Tooltip("rank:Q"),
        alt.Tooltip("seeds:Q"),
        alt.Tooltip("mean:Q", format=".6g"),
    ]
    color = color_of(list(domain))
    return [
        base.mark_rule(strokeDash=[2, 3], strokeWidth=1.2).encode(x=x, color=color),
        base.mark_point(filled=False, size=280, strokeWidth=2.2, opacity=1).encode(x=x, y=y, color=color, tooltip=told),
        base.transform_filter("datum.labeled")
        .mark_text(align="left", baseline="bottom", dx=10, dy=-8, stroke="var(--paper)", strokeWidth=3)
        .encode(x=x, y=y, text="label:N"),
    ]


def said(found: Sequence[dict[str, Any]]) -> str:
    """A sentence on the rings, for the text below a plot; empty where there are none."""
    return " Rings: the ranks that a rule chose (rank=auto)." if found else ""
