"""The table of a sweep: means over seeds, laid out for the width of what it is printed on."""

import itertools
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eckart.printable import visible
from eckart.results.aggregate import Row, Spread, by_method_and_rank
from eckart.results.numbers import NONE, fixed, scientific
from eckart.results.screen import PAGE, Screen, left, length, right
from eckart.results.settings import AUTO, CHOICES
from eckart.results.terminal import ROUNDING

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a table: its header, its cells, and what stands above it and its neighbors."""

    header: str
    cells: Sequence[str]
    above: str = ""
    text: bool = False

    @property
    def width(self) -> int:
        """Characters of its widest line."""
        return max(map(length, (self.header, *self.cells)))

    def lines(self) -> list[str]:
        """Header and cells, all of one width: text at the left, numbers at the right."""
        place = left if self.text else right
        return [place(cell, self.width) for cell in (self.header, *self.cells)]


def sweep_table(results: Iterable[Mapping[str, Any]], screen: Screen = PAGE) -> str:
    """Table of mean ± standard deviation over seeds, a line for each :class:`~eckart.results.aggregate.Row`.

    Data and method stand above the rows where all rows share them. Where the table is wider than the screen, it first
    shows fewer digits, and of the excess the mean alone; then columns before the rank move above the rows, from the
    left; then the numbers stand in two or more blocks.

    Args:
        results: Results, as in ``result.json``; at least one.
        screen: What it is printed on.

    Returns:
        The lines, to be printed as they are. They fit a screen of at least 40 characters.
    """
    results = list(results)
    rows = by_method_and_rank(results)
    lead = {"data": [visible(row.data) for row in rows], "method": [visible(row.method) for row in rows]}
    above = [name for name, values in lead.items() if len(set(values)) == 1]
    lead |= {name: [_text(name, row.settings[name]) for row in rows] for name in rows[0].settings}
    beside = [name for name in lead if name not in above]
    full = True
    groups = _numbers(rows, screen, full=full)
    taken = {column.header for group in groups for column in group}
    while _width(columns := _leading(lead, beside, taken), groups) > screen.width and (full or beside):
        if full:
            full, groups = False, _numbers(rows, screen, full=False)
        else:
            above.append(beside.pop(0))
    repeated = any(row.completed > 1 for row in rows)
    over = "folds" if len({row["config"]["data"].get("fold") for row in _configured(results)}) > 1 else "seeds"
    title = f"mean ± standard deviation over n {over}" if repeated else "one seed"
    measured = any("excess" in column.above for group in groups for column in group)
    lines = screen.wrap(f"{title}; excess = error − optimum" if measured else title)
    heads = [_head({name: lead[name][row] for name in lead if name in above}) for row in range(len(rows))]
    blocks = _blocks(columns, groups, screen)
    for head, places in itertools.groupby(range(len(rows)), key=lambda row: heads[row]):
        members = list(places)
        lines += ["", *(screen.paint(line, "bold") for line in (screen.wrap(head) if head else []))]
        for number, (header, body) in enumerate(blocks):
            lines += [*([""] if number else []), *header, *(body[row] for row in members)]
    return "\n".join(lines)


def _configured(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [result for result in results if isinstance((result.get("config") or {}).get("data"), Mapping)]


def _numbers(rows: Sequence[Row], screen: Screen, *, full: bool) -> list[list[Column]]:
    """Columns of numbers, in groups that are not torn apart; the first holds the rank, which every block repeats."""

    def spread(name: str, write: Callable[[Spread], tuple[str, str]]) -> list[str]:
        return _aligned([None if name not in row.spreads else write(row.spreads[name]) for row in rows])

    error = _error if full else _short_error
    counts = [Column("n", [str(row.completed) for row in rows])]
    for name in ("failed", "diverged"):
        if any(getattr(row, name) for row in rows):
            cells = [str(getattr(row, name) or "") for row in rows]
            counts.append(Column(name, [screen.paint(cell, "red") for cell in cells]))
    if any(row.recovered is not None for row in rows):
        cells = [NONE if row.recovered is None else str(row.recovered) for row in rows]
        counts.append(Column("recovered", cells))
    errors = [
        Column(header, spread(f"relative_{name}", error), "relative error")
        for name, header in (("2norm", "2-norm"), ("frobenius", "Frobenius"))
    ]
    excesses = []
    for name, header in (("excess_2norm", "2-norm"), ("excess_frobenius", "Frobenius")):
        cells = spread(name, _excess) if full else [_mean(row.spreads.get(name)) for row in rows]
        small = [name in row.spreads and abs(row.spreads[name].mean) <= ROUNDING for row in rows]
        cells = [screen.paint(cell, "green") if is_small else cell for cell, is_small in zip(cells, small, strict=True)]
        excesses.append(Column(header, cells, "excess" if full else "mean excess"))
    groups = [[Column("rank", [_rank(row) for row in rows])], counts]
    held_out = any("rmse" in row.spreads for row in rows)
    nets = any("accuracy" in row.spreads and "relative_frobenius" not in row.spreads for row in rows)
    # Of a target with missing entries nothing else is known.
    partly = not held_out and any(
        "relative_observed" in row.spreads and "relative_frobenius" not in row.spreads for row in rows
    )
    if not (held_out or nets or partly) or any("relative_2norm" in row.spreads for row in rows):
        groups += [errors, excesses]
    if partly:
        kinds = (("relative_observed", "error, observed"), ("relative_held_out", "error, held out"))
        known = [(name, header) for name, header in kinds if any(name in row.spreads for row in rows)]
        groups.append([Column(header, spread(name, _excess)) for name, header in known])
    if held_out:
        named = (("rmse", "RMSE"), ("mae", "MAE"))
        groups += [[Column(header, spread(name, error), "held-out ratings")] for name, header in named]
    if any("accuracy" in row.spreads for row in rows):
        groups.append([Column("accuracy", spread("accuracy", _fine_accuracy if nets else _accuracy))])
    if nets:
        kinds = (("accuracy_dense", "dense"), ("accuracy_factorized", "factorized"))
        groups += [
            [Column(header, spread(name, _fine_accuracy))]
            for name, header in kinds
            if any(name in row.spreads for row in rows)
        ]
        groups.append([Column("parameters", [_count(row.spreads.get("parameters")) for row in rows])])
    return groups


def _leading(lead: Mapping[str, Sequence[str]], beside: Sequence[str], taken: Container[str]) -> list[Column]:
    last = [_path(name).rpartition(".")[2] for name in beside]
    return [
        Column(_path(name) if short in taken or last.count(short) > 1 else short, lead[name], text=True)
        for short, name in zip(last, beside, strict=True)
    ]


def _width(columns: Sequence[Column], groups: Sequence[Sequence[Column]]) -> int:
    every = [*columns, *itertools.chain(*groups)]
    return sum(column.width for column in every) + len(_GAP) * (len(every) - 1)


def _blocks(
    columns: Sequence[Column], groups: Sequence[Sequence[Column]], screen: Screen
) -> list[tuple[list[str], list[str]]]:
    """Header and rows of each block; a block has as many of the groups as fit beside the columns and the rank."""
    rank, *rest = groups
    key = [*columns, *rank]
    blocks = [list(key)]
    for group in rest:
        if len(blocks[-1]) > len(key) and _width(blocks[-1], [group]) > screen.width:
            blocks.append(list(key))
        blocks[-1] += group
    return [_drawn(block, screen) for block in blocks]


def _drawn(block: Sequence[Column], screen: Screen) -> tuple[list[str], list[str]]:
    header, *body = (_GAP.join(cells).rstrip() for cells in zip(*(column.lines() for column in block), strict=True))
    spans = []
    for above, members in itertools.groupby(block, key=lambda column: column.above):
        width = _width(list(members), [])
        spans.append(f" {above} ".center(width, "─") if above else " " * width)
    return [screen.paint(line, "dim") for line in (_GAP.join(spans).rstrip(), header) if line], body


def _head(texts: Mapping[str, str]) -> str:
    return " ".join(f"{_path(name)}={text}" for name, text in texts.items() if text != NONE)


def _path(name: str) -> str:
    return name if name.startswith(CHOICES) else name.removesuffix("._target_")


def _text(name: str, value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return visible(value.rpartition(".")[2] if name.endswith("._target_") else value)
    return visible(json.dumps(value, separators=(",", ":"), default=str))


def _rank(row: Row) -> str:
    """The rank, or the ranks that were chosen, as in ``auto 7`` and ``auto 7–9``; a dash where there is none."""
    if row.rank is not None:
        return str(row.rank)
    if not row.auto:
        return NONE
    return f"{AUTO} {'–'.join(map(str, sorted({min(row.chosen), max(row.chosen)})))}" if row.chosen else AUTO


def _aligned(cells: Sequence[tuple[str, str] | None]) -> list[str]:
    """Means and deviations below each other; the means alone where no row has a deviation."""
    whole = [("", "") if cell is None else cell for cell in cells]
    if all(deviation in ("", NONE) for _, deviation in whole):
        return [mean or NONE for mean, _ in whole]
    before, behind = (max(len(cell[side]) for cell in whole) for side in (0, 1))
    return [
        f"{mean:>{before}} ± {deviation:<{behind}}" if mean else f"{NONE:>{before}}{'':<{behind + 3}}"
        for mean, deviation in whole
    ]


def _error(spread: Spread) -> tuple[str, str]:
    return fixed(spread.mean, 6, significant=3), fixed(spread.deviation, 4, significant=2)


def _short_error(spread: Spread) -> tuple[str, str]:
    return fixed(spread.mean, 4, significant=3), fixed(spread.deviation, 4, significant=1)


def _excess(spread: Spread) -> tuple[str, str]:
    return scientific(spread.mean), scientific(spread.deviation)


def _accuracy(spread: Spread) -> tuple[str, str]:
    return f"{spread.mean:.3f}", NONE if spread.deviation is None else f"{spread.deviation:.3f}"


def _fine_accuracy(spread: Spread) -> tuple[str, str]:
    return f"{spread.mean:.4f}", NONE if spread.deviation is None else f"{spread.deviation:.4f}"


def _count(spread: Spread | None) -> str:
    return NONE if spread is None else f"{spread.mean:,.0f}"


def _mean(spread: Spread | None) -> str:
    return NONE if spread is None else scientific(spread.mean)
