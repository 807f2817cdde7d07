"""A plot of a page: its Vega-Lite chart, its data, its texts, and its numbers as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from eckart.reports.legend import legend
from eckart.reports.markup import Markup, element

_INK = "currentColor"
_NUMBERS = 200


@dataclass(frozen=True)
class Numbers:
    """What a plot shows, as a table.

    Attributes:
        headers: Names of the columns.
        rows: Texts.
        what: What is in the rest, where rows are left out.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    what: str = "in the table of runs"


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
        key: Its name in the page, ``data-plot``.
        titles: One line that says what to see, for each panel; for a plot that is the same for all data, the only one
            is that of ``""``.
        caption: How to read it.
        chart: The chart; its data are named.
        rows: Data by name, a dictionary for each row; a row with a ``panel`` is shown for that one alone.
        numbers: What it shows, as a table.
        curves: Name of the page's curves that it draws as the data ``curves``; empty if it draws none.
        labels: What its lines are colored by, for the legend.
        wide: Whether it is not drawn narrower than it can be read: a narrow window scrolls it.
    """

    key: str
    titles: Mapping[str, str]
    caption: str
    chart: alt.TopLevelMixin
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    numbers: Numbers | None = None
    curves: str = ""
    labels: Sequence[str] = ()
    wide: bool = False

    def markup(self) -> Markup:
        """The figure as it stands in the page, where the script draws it."""
        heading = f"title-{self.key}"
        return element(
            "figure",
            element("h3", next(iter(self.titles.values())), id=heading),
            legend(self.labels, marks=not self.curves),
            self._place(),
            element("figcaption", self.caption),
            _table(self.numbers) if self.numbers and self.numbers.rows else None,
            data_plot=self.key,
            aria_labelledby=heading,
        )

    def _place(self) -> Markup:
        place = element("div", class_="plot")
        if not self.wide:
            return place
        return element("div", place, class_="wide", tabindex="0", role="region", aria_label="Plot, as wide as it needs")

    def data(self) -> dict[str, Any]:
        """What the script needs to draw it."""
        return {
            "titles": dict(self.titles),
            "spec": self.chart.to_dict(),
            "rows": {name: columns(rows) for name, rows in self.rows.items()},
            "curves": self.curves,
        }


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, which name each field once.

    Example:
        >>> columns([{"x": 1, "y": 2}, {"x": 3}])
        {'x': [1, 3], 'y': [2, None]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def styled(chart: Any, height: int = 300) -> Any:
    """A chart or layered chart in the style of the page: as wide as its place, in the color of the text around it."""
    return (
        chart.properties(width="container", height=height, padding={"left": 2, "right": 8, "top": 8, "bottom": 2})
        .configure(
            background="transparent",
            font="system-ui, sans-serif",
            aria=False,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding", resize=True),
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_INK,
            titleColor=_INK,
            gridColor=_INK,
            domainColor=_INK,
            tickColor=_INK,
            gridOpacity=0.13,
            domainOpacity=0.5,
            tickOpacity=0.5,
            labelFontSize=11.5,
            titleFontSize=12.5,
            titleFontWeight="normal",
            titlePadding=9,
            labelOverlap=True,
        )
        .configure_legend(
            labelColor=_INK,
            titleColor=_INK,
            labelFontSize=12.5,
            titleFontSize=12.5,
            titleFontWeight="normal",
            labelLimit=420,
            orient="top",
            direction="horizontal",
            symbolSize=90,
            columnPadding=18,
            symbolOpacity=1,
        )
        .configure_text(color=_INK, fontSize=12)
        .configure_rule(color=_INK)
    )


def _table(numbers: Numbers) -> Markup:
    shown = numbers.rows[:_NUMBERS]
    rest = len(numbers.rows) - len(shown)
    head = element("tr", *(element("th", header, scope="col") for header in numbers.headers))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in shown]
    return element(
        "details",
        element("summary", "The numbers"),
        element(
            "div",
            element("table", element("thead", head), element("tbody", *body)),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="The numbers of this plot",
        ),
        element("p", f"These are the first {len(shown)}; {rest} more are {numbers.what}.") if rest else None,
        class_="numbers",
    )
