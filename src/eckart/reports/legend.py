"""The legend of a plot as text beside it: it wraps where a drawn one would be cut off, and a screen reader reads it."""

from collections.abc import Sequence

from eckart.reports.axes import COLORS, SHAPES
from eckart.reports.markup import Markup, element

_PATHS = {
    "circle": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "square": "M-4.5,-4.5h9v9h-9z",
    "triangle-up": "M0,-5.5L5.5,4.5H-5.5z",
    "diamond": "M0,-6L5,0L0,6L-5,0z",
    "cross": "M-2,-5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5z",
    "triangle-down": "M0,5.5L5.5,-4.5H-5.5z",
    "triangle-right": "M5.5,0L-4.5,5.5V-5.5z",
}


def legend(labels: Sequence[str], *, marks: bool = True) -> Markup | None:
    """The labels with their colors, in the order of the encodings of :mod:`eckart.reports.axes`; None for fewer than 2.

    Args:
        labels: What lines are colored by.
        marks: Whether the plot has marks; one of curves alone has lines in their place.

    Example:
        >>> print(legend(["svd"]))
        None
    """
    if len(labels) < 2:
        return None
    items = [
        element(
            "li",
            element("svg", element("path", d=_path(place, marks=marks)), viewBox="-7 -7 14 14", aria_hidden="true"),
            label,
            style=f"--mark: {COLORS[place % len(COLORS)]}",
            data_label=label,
        )
        for place, label in enumerate(labels)
    ]
    return element("ul", *items, class_="legend")


def _path(place: int, *, marks: bool) -> str:
    return _PATHS[SHAPES[place % len(SHAPES)]] if marks else "M-7,-1.5h14v3h-14z"
