"""The table of a factorized model."""

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eckart.compression.factorized import Factorized, LayerReport

WIDTH = 80


def table(factorized: "Factorized") -> str:
    """The table of a factorized model, 80 columns wide: each layer, the totals, and why.

    Args:
        factorized: The model.
    """
    head = ("layer", "weight", "rank", "parameters", "error", "excess")
    lines = [_line(row) for row in (head, *map(_row, factorized.layers))]
    totals = [_share("parameters", factorized.dense_parameters, factorized.parameters)]
    if factorized.multiply_adds is not None:
        totals.append(_share("multiply-adds", factorized.dense_multiply_adds, factorized.multiply_adds))
    return "\n".join([*lines, "", *totals, *_reasons(factorized)])


def _row(layer: "LayerReport") -> tuple[str, ...]:
    excess = "–" if layer.excess is None else f"{layer.excess:.1e}"
    rank = "dense" if layer.rank is None else str(layer.rank)
    if layer.rank is None:
        return layer.path, "×".join(map(str, layer.shape)), rank, f"{layer.parameters:,}", "", ""
    return (
        layer.path,
        "×".join(map(str, layer.shape)),
        rank,
        f"{layer.parameters:,}",
        f"{layer.error:.4f}",
        excess,
    )


def _line(row: tuple[str, ...]) -> str:
    path, *others = row
    path = path if len(path) <= 29 else "…" + path[-28:]
    return f"{path:<30}" + "".join(f"{cell:>{w}}" for cell, w in zip(others, (14, 7, 12, 8, 9), strict=True))


def _share(name: str, before: int | None, after: int | None) -> str:
    share = f" ({after / before:.1%})" if after is not None and before else ""
    return f"{name:<14}{before:>16,} → {after:,}{share}"


def _reasons(factorized: "Factorized") -> list[str]:
    """Each reason once, with the layers that it is for."""
    layers, found = factorized.layers, dict[str, list[str]]()
    for layer in layers:
        found.setdefault(layer.why, []).append(layer.path)
    for path, why in factorized.refused.items():
        found.setdefault(f"dense: {why}", []).append(path)
    lines = []
    for why, paths in found.items():
        names = ", ".join(paths) if len(paths) < len(layers) else "all layers"
        text = f"{names}: {why}"
        lines += ["", *textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
    return lines
