"""Entries of one matrix as compressed lists of its rows and of its columns, for compiled loops."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """The entries of each row, or of each column, one after the other.

    Attributes:
        starts: Where the entries of each row begin, and where the last ones end, shape ``(m + 1,)``.
        other: Column of each entry, shape ``(N,)``.
        place: Its place in the list of the values, shape ``(N,)``.
    """

    starts: Integers
    other: Integers
    place: Integers


@dataclass(frozen=True)
class Lists:
    """Entries of a matrix of shape ``(m, n)``.

    Attributes:
        by_row: Entries of each row.
        by_col: Entries of each column.
        values: Value of each, in row-major order, shape ``(N,)``.
        norm: Frobenius norm of them.

    Example:
        >>> lists = Lists.of(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([3.0, 0.0, 4.0]), (2, 2))
        >>> lists.by_row.starts, lists.by_col.place, lists.norm
        (array([0, 2, 3]), array([0, 2, 1]), 5.0)
    """

    by_row: Side
    by_col: Side
    values: Floats
    norm: float

    @classmethod
    def of(cls, row: Integers, col: Integers, values: Floats, shape: tuple[int, int]) -> "Lists":
        """Lists of entries that are in row-major order."""
        order = np.argsort(col, kind="stable")
        return cls(
            Side(_starts(row, shape[0]), col, np.arange(len(row))),
            Side(_starts(col, shape[1]), row[order], order),
            values,
            float(np.linalg.norm(values)),
        )

    def are_many(self, rank: int) -> bool:
        """Whether they are so many for a rank that least squares is well determined in each row and column.

        All of them, or four times the degrees of freedom with at least twice the rank in each.
        """
        rows, cols = self.shape
        least = min(int(np.diff(side.starts).min()) for side in (self.by_row, self.by_col))
        count = len(self.values)
        return count == rows * cols or (count >= 4 * rank * (rows + cols - rank) and least >= 2 * rank)

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)``."""
        return len(self.by_row.starts) - 1, len(self.by_col.starts) - 1


def _starts(place: Integers, count: int) -> Integers:
    return np.concatenate([[0], np.bincount(place, minlength=count).cumsum()])
