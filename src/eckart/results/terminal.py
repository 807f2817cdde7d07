"""Text that runs and sweeps print."""

import itertools
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eckart.results.aggregate import Spread, by_method_and_rank
from eckart.results.numbers import NONE, fixed, scientific
from eckart.results.result import FIGURES
from eckart.results.settings import CHOICES

_HEADERS = {
    "relative_2norm": "2-norm error",
    "relative_frobenius": "Frobenius error",
    "excess_2norm": "2-norm excess",
    "excess_frobenius": "Frobenius excess",
    "accuracy": "accuracy",
}
_WIDTH = 120


def shown(folder: Path) -> str:
    """A folder as a user writes it: relative to the working directory where it lies inside.

    Example:
        >>> shown(Path.cwd() / "outputs"), shown(Path("/elsewhere"))
        ('outputs', '/elsewhere')
    """
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def table(result: Mapping[str, Any], folder: Path | None) -> str:
    """Table of a result: the optimum, the trained approximation, and the excess of the second over the first.

    Args:
        result: The result, as in ``result.json``.
        folder: The run's folder; None where it has none.

    Returns:
        The lines, to be printed as they are.
    """
    rows, cols = result["shape"]
    what = result["method"] if result["data"] is None else f"{result['method']} on {result['data']}"
    lines = [f"{what}, {rows}×{cols}, rank {result['rank']}, seed {result['seed']}", ""]
    lines.append(f"{'':<28}{'truncated SVD':>16}{_trained(result):>16}{'excess':>12}")
    for name, key in (("relative 2-norm error", "2norm"), ("relative Frobenius error", "frobenius")):
        best, error, excess = (result[f"{kind}_{key}"] for kind in ("optimum", "relative", "excess"))
        lines.append(f"{name:<28}{fixed(best, 10):>16}{fixed(error, 10):>16}{scientific(excess):>12}")
    target_rank = result["target_rank"]
    best_rank = NONE if target_rank is None else min(result["rank"], target_rank)
    lines.append(f"{'numerical rank':<28}{best_rank:>16}{result['numerical_rank']:>16}")
    lines.append(
        f"{'parameters of the factors':<28}{result['parameters']:>16}{result['parameters']:>16}"
        f"{'':>4}in place of {result['dense_parameters']}"
    )
    if result["images"] is not None:
        transposed = result["transpose_images"]
        of_both = f" and {transposed} of the transpose" if transposed else ""
        lines.append(f"{'images that training asked for':<44}{result['images']:>16}{of_both}")
    for name, key in (
        ("on the observed entries", "relative_observed"),
        ("on the held-out entries", "relative_held_out"),
        ("largest output difference", "largest_output_difference"),
    ):
        if result[key] is not None:
            lines.append(f"{name:<44}{fixed(result[key], 10):>16}")
    if result["measured"] not in (None, "exact"):
        lines += ["", f"errors are {result['measured']}"]
    if result["accuracy"] is not None:
        sums = ", ".join(f"{value:.2f}" for value in result["train_loss_sum_per_epoch"])
        lines += ["", f"test accuracy {result['accuracy']:.4f}; cross-entropy summed over batches, by epoch: {sums}"]
    lines += [
        "",
        f"{result['stop_reason']}; {result['steps']} steps in {result['fit_seconds']:.2f} s, "
        f"{result['total_seconds']:.1f} s in all",
    ]
    if folder is not None:
        lines += [shown(folder), "  " + "  ".join(_files(folder))]
    return "\n".join(lines)


def line(result: Mapping[str, Any], folder: Path) -> str:
    """One line of a result, for a job of a sweep."""
    return (
        f"{result['status']}: relative Frobenius error {fixed(result['relative_frobenius'], 10)}, "
        f"excess {scientific(result['excess_frobenius'])}, {result['steps']} steps, "
        f"{result['total_seconds']:.1f} s  {shown(folder)}"
    )


def failure(result: Mapping[str, Any], title: str, folder: Path) -> str:
    """Text on a job of a sweep that failed: what was asked for, why it failed, and its folder.

    Args:
        result: The result, as in ``result.json``.
        title: The job as it was typed.
        folder: The job's folder.

    Example:
        >>> print(failure({"status": "failed", "error": "The rank must be at least 1."}, "rank=0", Path("/a/rank=0")))
        failed: rank=0: The rank must be at least 1.
          /a/rank=0
    """
    return f"{result['status']}: {title}: {result['error']}\n  {shown(folder)}"


def sweep_table(results: Iterable[Mapping[str, Any]]) -> str:
    """Table of mean ± standard deviation over seeds, a line for each :class:`~eckart.results.aggregate.Row`.

    Data and method stand above the rows where all rows share them. Columns before the rank move there too, from the
    left, until the rows are at most 120 characters wide.

    Args:
        results: Results, as in ``result.json``; at least one.

    Returns:
        The lines, to be printed as they are.
    """
    rows = by_method_and_rank(results)
    lead = {"data": [row.data for row in rows], "method": [row.method for row in rows]}
    above = [name for name, values in lead.items() if len(set(values)) == 1]
    lead |= {name: [_text(name, row.settings[name]) for row in rows] for name in rows[0].settings}
    beside = [name for name in lead if name not in above]
    numbers = {"rank": [str(row.rank) for row in rows], "n": [str(row.completed) for row in rows]}
    for name in ("failed", "diverged"):
        if any(getattr(row, name) for row in rows):
            numbers[name] = [str(getattr(row, name) or "") for row in rows]
    for name, header in _HEADERS.items():
        if name != "accuracy" or any(name in row.spreads for row in rows):
            numbers[header] = _spreads([row.spreads.get(name) for row in rows], name)
    while len((lines := _lines({name: lead[name] for name in beside}, numbers))[0]) > _WIDTH and beside:
        above.append(beside.pop(0))
    heads = [_head({name: lead[name][row] for name in lead if name in above}) for row in range(len(rows))]
    header, *body = (line.rstrip() for line in lines)
    shown = ["mean ± standard deviation over seeds; n seeds; relative errors, and their excess over the optimum"]
    for head, block in itertools.groupby(zip(heads, body, strict=True), key=lambda pair: pair[0]):
        shown += ["", *([head] if head else []), header, *(line for _, line in block)]
    return "\n".join(shown)


def _files(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [
        f"{path.name}/{{{','.join(sorted(item.stem for item in path.iterdir()))}}}{_suffixes(path)}"
        if path.name == FIGURES
        else f"{path.name}/"
        if path.is_dir()
        else path.name
        for path in files
    ]


def _suffixes(folder: Path) -> str:
    return ",".join(sorted({item.suffix for item in folder.iterdir()}))


def _trained(result: Mapping[str, Any]) -> str:
    if result["accuracy"] is not None:
        return "reduction"
    return "trained" if result["stop_reason"] != "computed" else "computed"


def _lines(texts: Mapping[str, Sequence[str]], numbers: Mapping[str, Sequence[str]]) -> list[str]:
    columns = [[f"{cell:<{width}}" for cell in column] for column, width in _columns(_short(texts, numbers))]
    columns += [[f"{cell:>{width}}" for cell in column] for column, width in _columns(numbers)]
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]


def _columns(columns: Mapping[str, Sequence[str]]) -> list[tuple[list[str], int]]:
    return [([name, *cells], max(map(len, (name, *cells)))) for name, cells in columns.items()]


def _head(texts: Mapping[str, str]) -> str:
    return " ".join(f"{_path(name)}={text}" for name, text in texts.items() if text != NONE)


def _short(columns: Mapping[str, Sequence[str]], taken: Container[str]) -> dict[str, Sequence[str]]:
    last = [_path(name).rpartition(".")[2] for name in columns]
    return {
        _path(name) if short in taken or last.count(short) > 1 else short: cells
        for short, (name, cells) in zip(last, columns.items(), strict=True)
    }


def _path(name: str) -> str:
    return name if name.startswith(CHOICES) else name.removesuffix("._target_")


def _text(name: str, value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return value.rpartition(".")[2] if name.endswith("._target_") else value
    return json.dumps(value, separators=(",", ":"), default=str)


def _spreads(spreads: Sequence[Spread | None], name: str) -> list[str]:
    cells = [(NONE, "", "") if spread is None else _spread(spread, name) for spread in spreads]
    left, right = (max(len(cell[side]) for cell in cells) for side in (0, 2))
    return [f"{mean:>{left}} {sign:1} {deviation:<{right}}" for mean, sign, deviation in cells]


def _spread(spread: Spread, name: str) -> tuple[str, str, str]:
    mean, deviation = spread
    if name == "accuracy":
        return f"{mean:.3f}", "±", NONE if deviation is None else f"{deviation:.3f}"
    if name.startswith("excess"):
        return scientific(mean), "±", scientific(deviation)
    return fixed(mean, 6, significant=3), "±", fixed(deviation, 4, significant=2)
