"""Singular values of trained approximations, from the factors on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from eckart.reports import axes
from eckart.reports.axes import color_of, shape_of, size_of
from eckart.reports.lines import Line, Lines
from eckart.reports.plot import Numbers, Plot, styled
from eckart.reports.record import Record
from eckart.results.numbers import short
from eckart.results.result import FACTORS

_LINES = 24
_LARGEST_FILE = 64 * 2**20
_VALUES = 100


def plot(lines: Lines) -> Plot | None:
    """Singular values of one run of each line, that of the largest rank; None where no factors are on disk.

    Where one of the methods is ``svd``, its values are those of the target.
    """
    rows = list(_rows(lines))
    if not rows:
        return None
    x = alt.X(
        "index:Q",
        title="index of the singular value",
        scale=alt.Scale(zero=False, nice=False, padding=14),
        axis=alt.Axis(format="d", tickMinStep=1, grid=False),
    )
    y = axes.quantity("value", "singular value", [row["value"] for row in rows])
    tooltip = [
        alt.Tooltip("line:N"),
        alt.Tooltip("rank:Q"),
        alt.Tooltip("index:Q"),
        alt.Tooltip("value:Q", format=".6g"),
    ]
    base = alt.Chart(alt.NamedData("values"))
    color = color_of(lines.domain)
    layers = [
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=color, detail="line:N"),
        base.mark_point(filled=True, opacity=1).encode(
            x=x, y=y, color=color, shape=shape_of(lines.domain), size=size_of(), tooltip=tooltip
        ),
    ]
    panels = {row["panel"] for row in rows}
    return Plot(
        "singular-values",
        {panel: _title(rows, panel) for panel in lines.panels if panel in panels},
        "Of each line the first run of the largest rank. The values of the truncated SVD are those of the target.",
        styled(alt.layer(*layers)),
        {"values": rows},
        Numbers(
            ["data", "method", "rank", "index", "singular value"],
            [[row["panel"], row["line"], str(row["rank"]), str(row["index"]), short(row["value"])] for row in rows],
            "in factors.safetensors",
        ),
        labels=lines.domain,
    )


def singular_values(path: Path) -> NDArray[np.float64]:
    """Singular values of the product of the factors of a file, largest first; empty if it is no file of factors.

    A file of safetensors holds numbers and no code; one larger than 64 MiB is not read.
    """
    from safetensors.numpy import load_file

    try:
        # To open a pipe would wait for ever.
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return np.empty(0)
        factors = load_file(path)
        left, right = (factors[name].astype(np.float64) for name in ("left", "right"))
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            return np.empty(0)
        return np.linalg.svd(np.linalg.qr(left)[1] @ np.linalg.qr(right.T)[1].T, compute_uv=False)
    except Exception:
        # Whatever a damaged file does to the reader, it is no reason to lose the page.
        return np.empty(0)


def _rows(lines: Lines) -> Iterator[dict[str, Any]]:
    for line in lines.all[:_LINES]:
        run = _largest(line)
        if run is None:
            continue
        values = singular_values(run.path / FACTORS)
        for index in range(min(len(values), _VALUES)):
            value = float(f"{values[index]:.6g}")
            yield lines.row(line) | {"rank": run.fields["rank"], "index": index + 1, "value": value}


def _largest(line: Line) -> Record | None:
    runs = (run for point in reversed(line.points) for run in point.runs)
    return next((run for run in runs if run.status == "completed" and run.has_folder), None)


def _title(rows: Sequence[dict[str, Any]], panel: str) -> str:
    shown = [row for row in rows if row["panel"] == panel]
    first = max(row["value"] for row in shown)
    last = max((row for row in shown if row["value"] <= 1e-10 * first), key=lambda row: row["index"], default=None)
    if last is not None:
        return f"Singular values of what was trained: that of {last['line']} has a lower rank than it may have"
    return "Singular values of what was trained"
