"""The table of all runs: its columns, and the config and results of each run below its row."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eckart.printable import printable
from eckart.reports import commands, metrics_plot
from eckart.reports.lines import Lines
from eckart.reports.markup import Markup, element
from eckart.reports.record import Record, is_number
from eckart.results.result import FIELDS
from eckart.results.settings import LEADING, decides, differing, hashable

_RESULTS = {
    "accuracy": ("accuracy", "fraction"),
    "relative_2norm": ("2-norm error", "error"),
    "relative_frobenius": ("Frobenius error", "error"),
    "excess_2norm": ("2-norm excess", "excess"),
    "excess_frobenius": ("Frobenius excess", "excess"),
    "relative_withheld": ("error, withheld", "error"),
    "relative_held_out": ("error, held out", "error"),
    "loss": ("loss", "number"),
    "parameters": ("parameters", "integer"),
    "steps": ("steps", "integer"),
    "fit_seconds": ("seconds", "seconds"),
}
_FOREIGN = 8
_NAMES = 200
_SWEPT = 8
_LONGEST = 300


def markup(count: int) -> Markup:
    """The place of the table, its filter and its pages; the script fills it."""
    controls = element(
        "div",
        element("label", "Filter ", element("input", type="search", id="filter", placeholder="svd rank=2")),
        element("label", "Status ", element("select", element("option", "all", value=""), id="status")),
        element("p", f"{count} runs", id="shown", role="status"),
        class_="controls",
    )
    table = element(
        "table",
        element("caption", "All runs. A button in a heading sorts by its column.", class_="unseen"),
        element("thead"),
        element("tbody"),
        id="runs",
    )
    pages = element(
        "div",
        element("button", "Previous page", type="button", id="previous-page"),
        element("span", "", id="page"),
        element("button", "Next page", type="button", id="next-page"),
        class_="controls",
        id="pages",
    )
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Table of all runs")
    return element("section", element("h2", "Runs"), controls, scroll, pages, id="all-runs")


def data(records: Sequence[Record], lines: Lines, folder: Path) -> dict[str, Any]:
    """Columns of the table and what is below its rows.

    Args:
        records: The runs.
        lines: Their lines.
        folder: Folder of the page, which links to the folders of runs begin at.
    """
    ours = [record for record in records if record.ours]
    swept = _swept(ours)
    columns: list[dict[str, Any]] = []

    def column(key: str, label: str, kind: str, values: Sequence[Any]) -> None:
        if any(value is not None and value != "" for value in values):
            columns.append({"key": key, "label": label, "kind": kind, "values": values})

    if len(ours) < len(records):
        column("name", "run", "text", [_text(record.name) for record in records])
    column("status", "status", "text", [record.status for record in records])
    for name in LEADING:
        kind = "integer" if name in ("rank", "seed") else "text"
        column(name, name, kind, [_cell(record.fields.get(name)) if record.ours else None for record in records])
    for name, label in (("rank_rule", "rank chosen by"), ("verdict", "verdict")):
        column(name, label, "text", [_cell(record.fields.get(name)) if record.ours else None for record in records])
    for name in swept:
        values = [_setting(name, record) if record.ours else None for record in records]
        column(name, _short(name), "number" if all(map(_numeric, values)) else "text", values)
    for name, (label, kind) in _RESULTS.items():
        column(name, label, kind, [_digits(record.number(name)) if record.ours else None for record in records])
    for name in _varied([record for record in records if not record.ours]):
        values = [None if record.ours else _setting(name, record) for record in records]
        column(f"config {name}", _text(name), "number" if all(map(_numeric, values)) else "text", values)
    for name in _summaries(records):
        values = [None if record.ours else _digits(record.number(name)) for record in records]
        column(f"summary {name}", _text(name), "number", values)
    column("folder", "folder", "folder", [_text(record.folder) for record in records])
    column("link", "W&B", "link", [_link(record) for record in records])
    return {
        "count": len(records),
        "columns": columns,
        "names": _levels([record.name for record in records]),
        "errors": _levels([record.error or "" for record in records]),
        "hrefs": [_href(record, folder) for record in records],
        "panels": _levels([line.panel if (line := lines.line(record)) else "" for record in records]),
        "lines": _levels([line.label if (line := lines.line(record)) else "" for record in records]),
        "colors": _levels(_colors(records, lines)),
        "settings": _details([record.settings for record in records]),
        "results": _details([_fields(record) for record in records]),
        "commands": [commands.of_run(record.path) if record.has_folder else "" for record in records]
        if len(records) <= 2000
        else [],
    }


def _colors(records: Sequence[Record], lines: Lines) -> list[str]:
    foreign = metrics_plot.colors(records)
    return [
        lines.colors[line.label] if (line := lines.line(record)) else foreign[place]
        for place, record in enumerate(records)
    ]


def _swept(records: Sequence[Record]) -> list[str]:
    jobs = [{name: value for name, value in record.settings.items() if decides(name)} for record in records]
    return [name for name in differing(jobs) if name not in LEADING][:_SWEPT] if jobs else []


def _varied(records: Sequence[Record]) -> list[str]:
    """The settings in which runs of other programs differ, those with the fewest values first."""
    kinds: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.settings.items():
            kinds.setdefault(name, set()).add(repr(value))
    names = [name for name, values in kinds.items() if len(values) > 1]
    return sorted(names, key=lambda name: (len(kinds[name]), name))[:_SWEPT]


def _summaries(records: Sequence[Record]) -> list[str]:
    """The numbers that most runs of other programs end with."""
    counts: dict[str, int] = {}
    for record in records:
        if not record.ours:
            for name in record.fields:
                if record.number(name) is not None and not name.startswith("_"):
                    counts[name] = counts.get(name, 0) + 1
    return sorted(sorted(counts, key=lambda name: -counts[name])[:_FOREIGN])


def _fields(record: Record) -> dict[str, Any]:
    if not record.ours:
        said = {f"W&B {name}": value for name, value in record.identity.items()}
        return {**record.fields, **said, **({"W&B tags": list(record.tags)} if record.tags else {})}
    left_out = {"config", "status", "error", *LEADING}
    fields = {name: value for name, value in record.fields.items() if name not in left_out and value is not None}
    return {name: fields[name] for name in (*FIELDS, *fields) if name in fields}


def _details(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Values by name: those that all rows share, once; the others by row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    shared: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if len({hashable(value) if _hashes(value) else repr(value) for value in values}) == 1:
            shared[_text(name)] = _said(values[0])
        elif len(own) < _NAMES:
            own[_text(name)] = (
                [_digits(value) for value in values]
                if all(value is None or is_number(value) for value in values)
                else _levels([None if value is None else _said(value) for value in values])
            )
    return {"shared": shared, "own": own, "left_out": max(0, len(names) - len(shared) - len(own))}


def _hashes(value: Any) -> bool:
    try:
        hash(hashable(value))
    except TypeError:
        return False
    return True


def _levels(values: Sequence[str | None]) -> dict[str, Any]:
    places: dict[str | None, int] = {}
    index = [places.setdefault(value, len(places)) for value in values]
    return {"levels": [None if value is None else _text(value) for value in places], "index": index}


def _said(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    return _text(json.dumps(value, ensure_ascii=False, default=str))


def _cell(value: Any) -> Any:
    return value if is_number(value) else None if value is None else _said(value)


def _setting(name: str, record: Record) -> Any:
    value = record.settings.get(name)
    # A class is known by its name.
    return _cell(value.rpartition(".")[2] if name.endswith("._target_") and isinstance(value, str) else value)


def _numeric(value: Any) -> bool:
    return value is None or is_number(value)


def _digits(value: float | None) -> float | None:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _short(name: str) -> str:
    return _text(name.removesuffix("._target_"))


def _text(value: object) -> str:
    return printable(value, _LONGEST)


def _link(record: Record) -> str | None:
    return _text(record.link) if record.link else None


def _href(record: Record, folder: Path) -> str | None:
    """Address of a run's folder beside the page; None where the page is elsewhere."""
    real, base = os.path.realpath(record.folder), os.path.realpath(folder)
    return quote(os.path.relpath(real, base)) + "/" if real.startswith(base + os.sep) else None
