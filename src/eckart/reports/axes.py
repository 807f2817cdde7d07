"""Axes and colors that plots share."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

COLORS = [f"var(--series-{number})" for number in range(1, 8)]
"""Okabe and Ito's palette as the page's style defines it: one for a light background, one for a dark one."""
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
FLOOR = 1e-15
"""An excess up to this one, or below 0, is rounding; a logarithmic scale shows it here."""
_PLAIN = "datum.value >= 1e-3 && datum.value < 1e5 ? format(datum.value, '~r') : format(datum.value, '.0e')"
_FLOORED = f"datum.value <= {FLOOR} ? '≤ 1e-15' : {_PLAIN}"
_DENSE = 2.5


def color_of(domain: Sequence[str]) -> alt.Color:
    """The encoding that gives each line of the page its color, the same in every plot."""
    colors = [COLORS[place % len(COLORS)] for place in range(len(domain))]
    return alt.Color("color:N", legend=None, scale=alt.Scale(domain=list(domain), range=colors))


def shape_of(domain: Sequence[str]) -> alt.Shape:
    """The encoding that gives each line of the page its mark: color is not all that tells lines apart."""
    shapes = [SHAPES[place % len(SHAPES)] for place in range(len(domain))]
    return alt.Shape("color:N", legend=None, scale=alt.Scale(domain=list(domain), range=shapes))


def size_of() -> alt.Size:
    """The encoding that draws marks of later lines smaller: where lines coincide, each mark is still seen."""
    return alt.Size("size:Q", legend=None, scale=None)


def quantity(field: str, title: str, values: Sequence[float], *, factor: float = 50, zero: bool = True) -> alt.Y:
    """A vertical axis: logarithmic where positive values differ by ``factor`` or more, else linear.

    Args:
        field: The field.
        title: Title of the axis.
        values: All values that it must hold.
        factor: See above.
        zero: Whether a linear axis begins at 0.
    """
    if not spans(values, factor):
        return alt.Y(
            f"{field}:Q", title=title, scale=alt.Scale(zero=True) if zero else alt.Scale(zero=False, padding=10)
        )
    return logarithmic(field, title, values)


def logarithmic(field: str, title: str, values: Sequence[float]) -> alt.Y:
    """A vertical logarithmic axis that labels powers of ten, and 2 and 5 of each where they are few."""
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=8), axis=_decades(values))


def excess(field: str, title: str, values: Sequence[float]) -> alt.Y:
    """A vertical logarithmic axis that says of values at ``FLOOR``, if there are any near it, that they may be less."""
    least = min(values)
    first = -15 if least < 1e-12 else math.floor(math.log10(least))
    highest = 10.0 ** math.ceil(math.log10(max(*values, 1e-12)))
    powers = [10.0**power for power in range(first, round(math.log10(highest)) + 1)]
    shown = powers[:: max(1, math.ceil(len(powers) / 7))]
    axis = alt.Axis(values=shown, labelExpr=_FLOORED)
    scale = alt.Scale(type="log", domain=[10.0**first, highest], nice=False, clamp=True)
    return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)


def rank_axis(ranks: Sequence[int]) -> alt.X:
    """The horizontal axis of plots against the rank."""
    every = sorted(set(ranks))
    values: dict[str, Any] = {"values": every} if len(every) <= 16 else {}
    axis = alt.Axis(format="d", tickMinStep=1, grid=False, **values)
    log = len(every) > 2 and spans(every, 20)
    scale = alt.Scale(type="log", nice=False, padding=14) if log else alt.Scale(zero=False, nice=False, padding=14)
    return alt.X("rank:Q", title="rank", axis=axis, scale=scale)


def cost_axis(field: str, title: str, values: Sequence[float]) -> alt.X:
    """A horizontal axis of a cost: logarithmic where its values differ by a factor of 8 or more."""
    if spans(values, 8):
        scale = alt.Scale(type="log", nice=False, padding=12)
        axis = alt.Axis(grid=False, labelExpr=_PLAIN, values=decades(min(values), max(values), dense=5))
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)
    axis = alt.Axis(grid=False, tickCount=6, format="~s")
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(zero=False, padding=12), axis=axis)


def spans(values: Sequence[float], factor: float) -> bool:
    """Whether positive values differ so much that only a logarithmic scale shows them all.

    Example:
        >>> spans([1, 20], 10), spans([0, 20], 10), spans([1, 5], 10), spans([], 10)
        (True, False, False, False)
    """
    return bool(values) and min(values) > 0 and max(values) >= factor * min(values)


def decades(low: float, high: float, dense: float = _DENSE) -> list[float]:
    """Values that a logarithmic axis labels: powers of ten, at most eight, or 1, 2 and 5 of each if they are few.

    Args:
        low: The least value on the axis.
        high: The largest one.
        dense: Powers of ten between the two up to which 2 and 5 of each are labeled too.

    Example:
        >>> decades(0.02, 0.9), decades(1e-12, 1.0)
        ([0.02, 0.05, 0.1, 0.2, 0.5], [1e-12, 1e-10, 1e-08, 1e-06, 0.0001, 0.01, 1.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if math.log10(high / low) < dense:
        every = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in (1, 2, 5)]
        return [value for value in every if low <= value <= high]
    step = max(1, math.ceil((last - first) / 7))
    return [float(f"1e{power}") for power in range(first, last + 1, step) if low / 2 <= float(f"1e{power}") <= high * 2]


def _decades(values: Sequence[float]) -> alt.Axis:
    positive = [value for value in values if value > 0]
    ticks = decades(min(positive), max(positive)) if positive else []
    return alt.Axis(labelExpr=_PLAIN, **({"values": ticks} if len(ticks) > 1 else {"tickCount": 4}))
