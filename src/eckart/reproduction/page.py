"""The reproduction as a page for repositories: reproduction.md and its pictures."""

import inspect
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from eckart.reproduction import html, pictures, table, verdicts
from eckart.reproduction.claims import Claim
from eckart.reproduction.training import Comparison, Row, Trained, product
from eckart.reproduction.verdicts import Sample
from eckart.results.atomic import replacing
from eckart.results.history import HISTORY, History
from eckart.results.numbers import NONE, short
from eckart.runs import fingerprint

PAGE, IMAGES = "reproduction.md", "images"
_FEW = 4
"""Values of a claim that each have a line of their own in the first table; a claim with more has its own table."""
_COLUMNS = (
    *("quantity", "document", "its recipe, here", "margin", "our recipe", "optimum", "our excess, at most"),
    "verdict",
)
_LEGEND = """\
Each line is one experiment of `conf/experiment/`; `python train.py experiment=NAME` runs it with its document's recipe.

- **Its recipe, here** is the document's method, optimizer and number of steps, trained by this package: mean ± standard
  deviation over seeds, which draw the random matrices, the vectors and the initial weights.
- **Our recipe** takes the same data, rank and method with this package's defaults.
- **Optimum** is the least value that any matrix of the rank gives. **Our excess, at most** is the largest excess of our
  recipe over the optimum: over all seeds and both norms, relative to the norm of the target.

## When a value counts as reproduced
"""


def write(
    folder: Path, comparisons: Sequence[Comparison], left_out: Sequence[str], command: str, seconds: float
) -> list[Path]:
    """Write the page, its pictures and the table of every value.

    Args:
        folder: Where they are written; pictures in its folder ``images``.
        comparisons: The claims that were trained.
        left_out: Lines that say which claims were not trained, and why.
        command: The command that was typed, for the header.
        seconds: Wall time of the command.

    Returns:
        The files, the page first.
    """
    drawn = [(comparison, path) for comparison in comparisons for path in _draw(folder / IMAGES, comparison)]
    page, values = folder / PAGE, folder / table.TABLE
    with replacing(page) as partial:
        partial.write_text(_page(comparisons, drawn, left_out, command, seconds), encoding="utf-8")
    table.write(values, comparisons)
    return [page, values, html.write(folder), *(path for _, path in drawn)]


def _page(
    comparisons: Sequence[Comparison],
    pictures: Sequence[tuple[Comparison, Path]],
    left_out: Sequence[str],
    command: str,
    seconds: float,
) -> str:
    versions = fingerprint.versions()
    lines = [
        "# The documents, reproduced",
        "",
        f"Written by `{command}` in {seconds / 60:.1f} minutes, with torch {versions['torch']}. Do not edit it.",
        "[reproduction.html](reproduction.html) is the same as a page with plots: download it and open it.",
        "",
        *_LEGEND.splitlines(),
        "",
        *inspect.cleandoc(verdicts.__doc__ or "").splitlines(),
    ]
    documents = dict.fromkeys(comparison.claim.settings["document"] for comparison in comparisons)
    for document in documents:
        own = [comparison for comparison in comparisons if comparison.claim.settings["document"] == document]
        lines += ["", f"## {document}", "", *_table(("experiment", "place", *_COLUMNS), _first_table(own))]
        for comparison in own:
            if len(comparison.rows) > _FEW:
                lines += ["", f"### {comparison.claim.headline}", ""]
                lines += _table(("", *_COLUMNS), [[row.point.label, *_cells(row)] for row in comparison.rows])
        notes = [comparison.claim for comparison in own if "note" in comparison.claim.settings]
        lines += ["", *(f"- `{claim.name}`: {claim.settings['note'].strip()}" for claim in notes)]
        drawn = [(comparison.claim, path) for comparison, path in pictures if comparison in own]
        for claim, group in itertools.groupby(drawn, lambda pair: pair[0]):
            lines += ["", f"**{claim.headline}**", ""]
            lines += [f"![{_alternative(claim, path)}]({IMAGES}/{path.name})" for _, path in group]
    if left_out:
        lines += ["", "## Left out", "", *(f"- {line}" for line in left_out)]
    return "\n".join(lines) + "\n"


def _first_table(comparisons: Sequence[Comparison]) -> list[list[str]]:
    lines = []
    for comparison in comparisons:
        claim, rows = comparison.claim, comparison.rows
        heading = [f"`{claim.name}`", claim.settings["place"]]
        if len(rows) <= _FEW:
            for row in rows:
                lines.append([*heading, *_cells(row)])
                heading = ["", ""]
            continue
        first, last = rows[0], rows[-1]
        ranges = [
            f"{short(first.point.value)} … {short(last.point.value)}",
            _range(first.here, last.here),
            NONE,
            _range(first.ours, last.ours),
            _range(_known(first), _known(last)) if _known(first) else NONE,
        ]
        excess = max((row.excess for row in rows if row.excess is not None), default=None)
        verdict = claim.describe([row.verdict for row in rows])
        lines.append([*heading, _quantity(first), *ranges, short(excess), f"{verdict} (table below)"])
    return lines


def _cells(row: Row) -> list[str]:
    known = _known(row)
    quantity = f"{_quantity(row)}, `{row.point.label}`" if "over" in row.claim.settings else _quantity(row)
    return [
        quantity,
        short(row.point.value),
        _mean(row.here),
        NONE if row.margin is None else f"{row.margin:.2g}",
        _mean(row.ours),
        _mean(known) if known else NONE,
        short(row.excess if row.excess is None else max(row.excess, 0.0)),
        row.claim.describe([row.verdict]),
    ]


def _quantity(row: Row) -> str:
    name = table.quantity(row.point.quantity)
    return name if row.point.place is None else f"{name} {row.point.place + 1}"


def _known(row: Row) -> list[float]:
    return [optimum for optimum in row.optima if optimum is not None]


def _mean(values: Sequence[float]) -> str:
    # The mean and the deviation of values that are zero to rounding have no meaning.
    if max(abs(value) for value in values) < table.ROUNDING:
        return short(max(values, key=abs))
    sample = Sample.of(values)
    return table.spread(sample.mean, sample.deviation, statistics.median(values))


def _range(first: Sequence[float], last: Sequence[float]) -> str:
    if max(abs(value) for value in (*first, *last)) < 1e-8:
        return short(max(*first, *last, key=abs))
    return f"{statistics.mean(first):.3g} … {statistics.mean(last):.3g}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows),
    ]


def _draw(folder: Path, comparison: Comparison) -> list[Path]:
    document, ours, target, truncated = comparison.document, comparison.ours, comparison.target, comparison.truncated
    if document is None or ours is None or target is None or truncated is None:
        return []
    panels = [("target", product(target.folder))]
    for title, trained in (("document's recipe", document), ("our recipe", ours), ("truncated SVD", truncated)):
        panels.append((f"{title}, rank {trained.result['rank']}\n{_errors(trained)}", product(trained.folder)))
    drawn = [pictures.side_by_side(folder / f"{comparison.claim.name}.png", panels)]
    if comparison.claim.settings.get("loss_curve"):
        errors = {
            "document's recipe": _history(document, "relative_2norm"),
            "our recipe": _history(ours, "relative_2norm"),
        }
        path = folder / f"{comparison.claim.name}_loss.png"
        drawn.append(pictures.training(path, _history(document, "train/loss"), errors, ours.result["optimum_2norm"]))
    return drawn


def _errors(trained: Trained) -> str:
    return f"relative 2-norm error {trained.result['relative_2norm']:.4f}"


def _history(trained: Trained, column: str) -> tuple[list[float], list[float]]:
    steps, values = History.read(trained.folder / HISTORY).column(column)
    # Before the first step the loss is written as 0: there is none.
    measured = [(step, value) for step, value in zip(steps, values, strict=True) if value > 0]
    return [step for step, _ in measured], [value for _, value in measured]


def _alternative(claim: Claim, path: Path) -> str:
    shown = (
        "Loss and error by step"
        if path.stem.endswith("_loss")
        else "Target, document's recipe, our recipe, truncated SVD"
    )
    return f"{shown}: {claim.name}"
