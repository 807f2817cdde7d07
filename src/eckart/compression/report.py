"""The table of a factorized model."""

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eckart.compression.factorized import Factorized, LayerReport

WIDTH = 80
NAMED = 3


def table(factorized: "Factorized") -> str:
    """The table of a factorized model, 80 columns wide: each layer, the totals, and why.

    Times are relative to the dense layer's, for the size of a batch where that is largest.

    Args:
        factorized: The model.
    """
    timed = any(layer.ratio is not None for layer in factorized.layers)
    head = ("layer", "weight", "rank", "parameters", "error", "excess", "time")
    lines = [_line(row, timed) for row in (head, *map(_row, factorized.layers))]
    totals = [_share("parameters", factorized.dense_parameters, factorized.parameters)]
    if factorized.multiply_adds is not None:
        totals.append(_share("multiply-adds", factorized.dense_multiply_adds, factorized.multiply_adds))
    return "\n".join([*lines, "", *totals, "", *_reasons(factorized)])


def _row(layer: "LayerReport") -> tuple[str, ...]:
    shape, count = "×".join(map(str, layer.shape)), f"{layer.parameters:,}"
    if layer.rank is None:
        return layer.path, shape, "dense", count, "", "", ""
    excess = "–" if layer.excess is None else f"{layer.excess:.1e}"
    time = "" if layer.ratio is None else f"{layer.ratio:.2f}"
    return layer.path, shape, str(layer.rank), count, f"{layer.error:.4f}", excess, time


def _line(row: tuple[str, ...], timed: bool) -> str:
    path, *others = row
    width = 24 if timed else 30
    path = path if len(path) < width else "…" + path[2 - width :]
    cells = zip(others, (14, 7, 12, 8, 9, 6 if timed else 0), strict=True)
    return f"{path:<{width}}{''.join(f'{cell:>{size}}' for cell, size in cells if size)}".rstrip()


def _share(name: str, before: int | None, after: int | None) -> str:
    assert before is not None
    assert after is not None
    return f"{name:<14}{before:>16,} → {after:,} ({after / before:.1%})"


def _reasons(factorized: "Factorized") -> list[str]:
    """Each reason once, with the layers that it is for."""
    found: dict[str, list[str]] = {}
    for layer in factorized.layers:
        found.setdefault(layer.why, []).append(layer.path)
    for path, why in factorized.refused.items():
        found.setdefault(f"dense: {why}", []).append(path)
    lines = []
    for why, paths in found.items():
        names = ", ".join(paths[:NAMED]) + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
        lines += textwrap.wrap(f"{names}: {why}", WIDTH, subsequent_indent="  ")
    return lines
