"""The page about runs, from folders to a file."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eckart.printable import printable
from eckart.reports import (
    frame,
    metrics_plot,
    parallel_plot,
    pareto_plot,
    pictures,
    rank_plots,
    reading,
    runs_table,
    spectra,
    step_plots,
    summary,
    trade_plots,
)
from eckart.reports.lines import Lines, lines
from eckart.reports.markup import Markup, element
from eckart.reports.plot import Plot
from eckart.reports.reading import Found
from eckart.results.atomic import replacing
from eckart.results.terminal import shown

PAGE = "report.html"
_STAGES = ("reading results", "reading curves", "plots", "pictures", "page")


@dataclass(frozen=True)
class Written:
    """A page that was written.

    Attributes:
        path: The file.
        runs: Runs that it is about.
        problems: Lines on files that could not be read.
        seconds: What it took.
    """

    path: Path
    runs: int
    problems: tuple[str, ...]
    seconds: float

    def line(self) -> str:
        """The page in one line: where it is, its size, its runs, and what it took."""
        size = self.path.stat().st_size / 1e6
        runs = f"{self.runs} run{'s' * (self.runs != 1)}"
        return f"{shown(self.path)}: {runs}, {size:.1f} MB, {self.seconds:.1f} s"


def write(folders: Sequence[Path], out: Path | None = None) -> Written:
    """Write the page about all runs below folders.

    Args:
        folders: Of runs, sweeps, or many sweeps, of eckart or of W&B.
        out: The file; None for ``report.html`` in the folder, or in the working directory if there are several.

    Returns:
        The page; it is complete on disk.

    Raises:
        FileNotFoundError: If a folder does not exist. One without runs gets a page that says so.
        OSError: If the page cannot be written.
    """
    began = time.perf_counter()
    path = out or (folders[0] / PAGE if len(folders) == 1 else Path(PAGE))
    # Only on a terminal.
    with tqdm(total=len(_STAGES), disable=None, leave=False, bar_format="{desc} {bar:24}") as bar:
        stages = iter(_STAGES)

        def begin() -> None:
            bar.set_description_str(next(stages))
            bar.update()

        begin()
        found = reading.read(folders)
        if not found.records and not found.problems:
            found = replace(found, problems=(f"There is no run below {' or '.join(map(str, folders))}.",))
        begin()
        found = _with_curves(found)
        text = _page(found, _title(folders), path.parent, begin)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")
    return Written(path, len(found.records), found.problems, time.perf_counter() - began)


def _page(found: Found, title: str, folder: Path, begin: Callable[[], None]) -> str:
    begin()
    records = found.records
    drawn = lines(records)
    shown = {place: records[place] for place in step_plots.chosen(records)}
    curves = step_plots.curves(shown, drawn) | metrics_plot.curves(shown)
    groups = _plots(found, drawn, curves)
    metrics = metrics_plot.plot(curves, records)
    begin()
    images = pictures.data(records, drawn)
    begin()
    every = [plot for _, plots in groups.values() for plot in plots] + ([metrics] if metrics else [])
    sections = [_section(key, heading, plots) for key, (heading, plots) in groups.items() if plots]
    parts: list[Markup | None] = [
        *sections,
        metrics_plot.markup(curves, metrics) if metrics else None,
        pictures.markup() if images["runs"] else None,
        runs_table.markup(len(records)) if records else None,
        summary.failures(records),
        summary.problems(found),
        summary.reproduce(found),
    ]
    body = [part for part in (summary.line(records), frame.contents(parts), _choice(drawn), *parts) if part is not None]
    data = {
        "plots": {plot.key: plot.data() for plot in every},
        "curves": curves,
        "runs": runs_table.data(records, drawn, folder),
        "pictures": images,
    }
    return frame.page(title, body, data=data, scripts=["runs.js"])


def _with_curves(found: Found) -> Found:
    problems = list(found.problems)
    records = list(found.records)
    chosen = step_plots.chosen(records)
    for place, record in zip(chosen, reading.with_curves([records[place] for place in chosen], problems), strict=True):
        records[place] = record
    return replace(found, records=tuple(records), problems=tuple(problems))


def _plots(found: Found, drawn: Lines, curves: dict[str, Any]) -> dict[str, tuple[str, list[Plot]]]:
    records = found.records
    accuracy = _given([rank_plots.accuracy(drawn)])
    groups = {
        "nets": ("Nets of low rank", pareto_plot.plots(records)),
        "classifiers": ("Classifiers", accuracy + step_plots.plots(curves, drawn, records, epochs=True)),
        "errors": ("Errors", _given([rank_plots.errors(drawn, norm) for norm in rank_plots.NORMS])),
        "excess": ("Excess over the optimum", _given([rank_plots.excess(drawn, norm) for norm in rank_plots.NORMS])),
        "training": ("Training", step_plots.plots(curves, drawn, records, epochs=False)),
        "costs": ("Costs", trade_plots.plots(records, drawn)),
        "spectra": ("Singular values", _given([spectra.plot(drawn)])),
        "settings": ("What was swept", _given([parallel_plot.plot(records, drawn)])),
    }
    classified = [record.number("accuracy") is not None for record in records if record.status == "completed"]
    # The errors of a classifier are those of its inputs.
    first = [] if classified and all(classified) else ["errors", "excess", "training"]
    return {key: groups[key] for key in [*first, *groups]}


def _given(plots: Sequence[Plot | None]) -> list[Plot]:
    return [plot for plot in plots if plot is not None]


def _section(key: str, heading: str, plots: Sequence[Plot]) -> Markup:
    figures = element("div", *(plot.markup() for plot in plots), class_="figures")
    return element("section", element("h2", heading), figures, id=key)


def _choice(drawn: Lines) -> Markup | None:
    if len(drawn.panels) < 2:
        return None
    options = [element("option", panel, value=panel) for panel in drawn.panels]
    return element(
        "p",
        element("label", "Data of the plots ", element("select", *options, id="data-choice")),
        class_="controls",
    )


def _title(folders: Sequence[Path]) -> str:
    names = [folder.resolve().name for folder in folders]
    return printable("Runs of " + (", ".join(names[:3]) + (" and others" if len(names) > 3 else "")), 120)
