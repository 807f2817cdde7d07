"""Draw errors, or the accuracy of classifiers, against the rank, from any number of sweeps: ``--help``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eckart.reports.figure_command import figure_parser, write_figure
from eckart.results.aggregate import Row, by_method_and_rank

_NAMES = {"2norm": "2-norm", "frobenius": "Frobenius"}


def main() -> None:
    """Read results, and write one figure."""
    parser = figure_parser(
        "Draw errors against the rank, with the truncated SVD as the least that is possible, from any "
        "number of sweeps over one target; or the accuracy of classifiers, where the sweeps trained some.",
        "of a job, a sweep, or many sweeps",
    )
    parser.add_argument("--norm", choices=list(_NAMES), default="2norm", help="of the errors; %(default)s")
    parser.add_argument("--claim", metavar="EXPERIMENT", help="mark the values that this document published by rank")
    write_figure(parser, lambda asked, results: draw(asked.out, by_method_and_rank(results), asked.norm, asked.claim))


def draw(path: Path, rows: Iterable[Row], norm: str, claim: str | None = None) -> Path:
    """Draw rows of :func:`eckart.results.aggregate.by_method_and_rank`.

    Args:
        path: The figure.
        rows: Their means.
        norm: ``2norm`` or ``frobenius``.
        claim: Experiment whose published values are marked.

    Raises:
        ValueError: If no job completed, targets differ, or the claim has no differences of this norm by rank.
    """
    # Matplotlib is not needed for --help.
    from eckart.results import figures

    rows = [row for row in rows if row.completed]
    if not rows:
        raise ValueError("There must be a completed job. Found none.")
    chosen = sorted({rank for row in rows for rank in row.chosen})
    rows = [row for row in rows if row.rank is not None]
    if not rows:
        raise ValueError("There must be a job whose rank was given, for a curve to mark a chosen one on. Found none.")
    names = _names(rows)
    if all("accuracy" in row.spreads for row in rows):
        accuracy: dict[str, dict[int, Any]] = {}
        for row, name in zip(rows, names, strict=True):
            accuracy.setdefault(name, {})[_rank(row)] = row.spreads["accuracy"]
        mean, rank = max((row.spreads["accuracy"].mean, -_rank(row)) for row in rows)
        title = f"Accuracy is best at rank {-rank}: {100 * mean:.1f} % of the test set"
        return figures.accuracy_by_rank(path, accuracy, title=title, chosen=chosen)
    published = None if claim is None else _published(claim, norm)
    optimum: dict[int, float] = {}
    excess: dict[str, dict[int, float]] = {}
    for row, name in zip(rows, names, strict=True):
        error, above = row.spreads.get(f"relative_{norm}"), row.spreads.get(f"excess_{norm}")
        if error is None or above is None:
            continue
        rank, least = _rank(row), error.mean - above.mean
        if abs(optimum.setdefault(rank, least) - least) > 1e-6:
            raise ValueError(f"All jobs must have the same targets. Found two optima at rank {rank}.")
        excess.setdefault(name, {})[rank] = above.mean
    if not excess:
        raise ValueError("There must be a job whose optimum is known. Found none.")
    title = _title({name: max(values.values()) for name, values in excess.items()})
    return figures.errors_by_rank(
        path, optimum, excess, title=title, norm=_NAMES[norm], published=published, chosen=chosen
    )


def _rank(row: Row) -> int:
    assert row.rank is not None
    return row.rank


def _names(rows: list[Row]) -> list[str]:
    # What is not equal in all rows; an optimizer stands for the settings that come with it.
    methods = {row.method for row in rows}
    found = []
    for row in rows:
        optimizer = str(row.settings.get("optimizer._target_") or "").rpartition(".")[2]
        parts = [row.method if len(methods) > 1 or not optimizer else f"{row.method}, {optimizer}"]
        if not optimizer:
            told = {name: value for name, value in row.settings.items() if not name.startswith("selection.")}
            parts += [f"{name}={value}" for name, value in told.items() if not name.endswith("_target_")][:2]
        found.append(", ".join(parts))
    return found


def _title(largest: Mapping[str, float]) -> str:
    best = min(largest, key=lambda name: largest[name])
    if largest[best] < 1e-9:
        return f"{best} reaches the optimum at every rank, to rounding"
    return f"{best} is nearest to the optimum: its mean excess is at most {largest[best]:.2g}"


def _published(name: str, norm: str) -> tuple[str, dict[int, float]]:
    from eckart.config import nearest
    from eckart.reproduction.claims import read_claims

    claims = read_claims()
    if name not in claims:
        raise ValueError(f"Unknown claim {name}. {nearest(name, claims)}")
    claim = claims[name]
    if claim.settings.get("quantity") != f"excess_{norm}" or "values" not in claim.settings:
        raise ValueError(f"A claim that is marked must give excess_{norm} by rank. Found {name}.")
    values = {point.rank: point.value for point in claim.points}
    author = str(claim.settings["document"]).partition(",")[0]
    place = claim.settings["place"]
    return f"published: {author}, {place}", {
        rank: value for rank, value in values.items() if rank is not None and isinstance(value, float)
    }


if __name__ == "__main__":
    main()
