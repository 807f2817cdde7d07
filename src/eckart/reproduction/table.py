"""The reproduction as a table: reproduction.csv, a line for each value of a document."""

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eckart.reproduction.training import Comparison
from eckart.reproduction.verdicts import Sample, Verdict
from eckart.results.atomic import replacing
from eckart.results.numbers import short

TABLE = "reproduction.csv"
ROUNDING = 1e-8
"""A value up to this one is zero to rounding."""
_NAMES = {
    "loss": "squared error",
    "squared_error": "squared error, all entries",
    "relative_observed": "relative error, observed entries",
    "relative_2norm": "relative 2-norm error",
    "relative_frobenius": "relative Frobenius error",
    "excess_2norm": "difference of 2-norm errors",
    "train_loss_sum_per_epoch": "sum of losses, epoch",
}
_FIELDS = (
    *("experiment", "value_of", "quantity", "document", "seeds", "here_median", "here_mean", "here_sd", "margin"),
    *("ours_median", "ours_mean", "ours_sd", "optimum", "ours_excess", "verdict", "beaten"),
)


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes:
        experiment: The claim.
        value_of: What tells the value from the claim's others; empty where it is the only one.
        quantity: Field of ``result.json``, or the name of a quantity that is computed from the factors.
        document: The document's value; text where it is told in words, None where it is not given.
        seeds: Number of seeds of the document's recipe.
        here: Mean, standard deviation and median that the document's recipe gives here.
        ours: The same of our recipe.
        margin: Largest difference with which the value counts as reproduced; None where there is none.
        optimum: Least value that any matrix of the rank gives, a mean over seeds; None where it is not known.
        verdict: The verdict.
        beaten: Whether our recipe beats the document's value.
    """

    experiment: str
    value_of: str
    quantity: str
    document: float | str | None
    seeds: int
    here: tuple[float, float, float]
    ours: tuple[float, float, float]
    margin: float | None
    optimum: float | None
    verdict: Verdict
    beaten: bool

    @property
    def place(self) -> str:
        """What tells the value from others of the same quantity: a rank, a setting, an epoch; empty if nothing does.

        Example:
            >>> [place_of(value) for value in ("rank 3", "method.hidden=paper", "train loss sum per epoch, 2", "loss")]
            ['rank 3', 'hidden=paper', 'epoch 2', '']
        """
        return place_of(self.value_of)


def place_of(value_of: str) -> str:
    """The part of ``value_of`` that names no quantity; see :attr:`Entry.place`."""
    if value_of.startswith("rank "):
        return value_of
    if "=" in value_of:
        name, _, value = value_of.partition("=")
        return f"{name.rpartition('.')[2]}={value}"
    before, _, number = value_of.rpartition(", ")
    return f"{before.rpartition(' ')[2]} {number}" if number.isdigit() else ""


def write(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write the table of claims that were trained; it is complete or absent."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(_FIELDS)
    for row in (row for comparison in comparisons for row in comparison.rows):
        known = [optimum for optimum in row.optima if optimum is not None]
        point, here, ours, (verdict, beaten) = row.point, Sample.of(row.here), Sample.of(row.ours), row.verdict
        values: list[Any] = [statistics.median(row.here), here.mean, here.deviation, row.margin]
        values += [statistics.median(row.ours), ours.mean, ours.deviation]
        values += [statistics.mean(known) if known else None, row.excess]
        writer.writerow(
            [row.claim.name, point.label, point.quantity, point.value, here.count, *values, verdict, beaten]
        )
    with replacing(path) as partial:
        partial.write_text(written.getvalue(), encoding="utf-8")


def read(path: Path) -> list[Entry]:
    """Read a table that :func:`write` has written.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is another table.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _FIELDS:
            raise ValueError(f"{path} must have the columns {', '.join(_FIELDS)}. Found {reader.fieldnames}.")
        return [_entry(row) for row in reader]


def quantity(name: str) -> str:
    """A quantity in words.

    Example:
        >>> quantity("excess_2norm"), quantity("numerical_rank")
        ('difference of 2-norm errors', 'numerical rank')
    """
    return _NAMES.get(name, name.replace("_", " "))


def spread(mean: float, deviation: float, median: float) -> str:
    """Mean ± standard deviation over seeds, with the median where a few seeds move the mean away from most.

    Example:
        >>> spread(0.5, 0.012, 0.5), spread(1.36, 0.45, 1.12), spread(2.0, 0.0, 2.0)
        ('0.500 ± 0.012', '1.36 ± 0.45, median 1.12', '2')
    """
    if deviation < 1e-6 * abs(mean) or max(abs(mean), abs(median)) < ROUNDING:
        return short(mean)
    decimals = max(0, 1 - math.floor(math.log10(deviation)))
    text = f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"
    return text if abs(median - mean) < deviation / 5 else f"{text}, median {median:.3g}"


def _entry(row: dict[str, str]) -> Entry:
    here, ours = (
        (float(row[f"{recipe}_mean"]), float(row[f"{recipe}_sd"]), float(row[f"{recipe}_median"]))
        for recipe in ("here", "ours")
    )
    return Entry(
        row["experiment"],
        row["value_of"],
        row["quantity"],
        _value(row["document"]),
        int(row["seeds"]),
        here,
        ours,
        _number(row["margin"]),
        _number(row["optimum"]),
        Verdict(row["verdict"]),
        row["beaten"] == "True",
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _value(text: str) -> float | str | None:
    try:
        return _number(text)
    except ValueError:
        return text
