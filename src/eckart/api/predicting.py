"""Predictions of entries by the ids of their rows and columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eckart.linalg.held_out import predictions
from eckart.printable import printable


class Predictor:
    """What was learned, asked by ids.

    Args:
        left: Shape ``(m, k)``.
        right: Shape ``(k, n)``.
        limits: The least and the largest rating, to which predictions are clipped; None for none.
        row_ids: Text of the id of each row; None where they are numbers from 0.
        col_ids: The same of each column.
        names: What the table of ratings calls rows and columns.

    Example:
        >>> left, right = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 3.0]])
        >>> predictor = Predictor(left, right, None, ["anna", "bert"], ["7", "8"])
        >>> predictor.predict(["bert", "carl"], [8, 8])
        array([ 6., nan])
        >>> predictor.top_n("anna", 1)
        [('8', 3.0)]
    """

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        limits: tuple[float, float] | None = None,
        row_ids: Sequence[str] | None = None,
        col_ids: Sequence[str] | None = None,
        names: tuple[str, str] = ("row", "column"),
    ) -> None:
        self.names = names
        self._left, self._right, self._limits = left, right, limits
        self._row_ids, self._col_ids = row_ids, col_ids
        self._places: dict[str, dict[str, int]] = {}

    def predict(self, rows: ArrayLike, cols: ArrayLike) -> NDArray[np.float64]:
        """Predictions for pairs of ids, float64, shape ``(N,)``; NaN where an id was not among those learned from.

        Raises:
            ValueError: If there are not as many of the one as of the other.
        """
        row, col = self._found("row", rows), self._found("col", cols)
        if len(row) != len(col):
            raise ValueError(f"Each pair must have a row and a column. Found {len(row)} rows and {len(col)} columns.")
        known = (row >= 0) & (col >= 0)
        found = np.full(len(row), np.nan)
        some, others = torch.from_numpy(row[known]), torch.from_numpy(col[known])
        found[known] = predictions(self._left, self._right, some, others, self._limits).numpy()
        return found

    def unknown(self, rows: ArrayLike, cols: ArrayLike) -> str | None:
        """How many pairs have an id that was not among those learned from, and the first such id; None where none has.

        Example:
            >>> predictor = Predictor(torch.ones(1, 1), torch.ones(1, 1), None, ["anna"], ["7"])
            >>> predictor.unknown(["anna", "carl", "anna"], ["7", "7", "8"])
            "2 of 3 pairs have an unknown id: 'carl' is no row"
        """
        lost = self._found("row", rows) < 0, self._found("col", cols) < 0
        either = np.flatnonzero(lost[0] | lost[1])
        if not len(either):
            return None
        first = either[0]
        side, ids = ("row", rows) if lost[0][first] else ("column", cols)
        found = printable(repr(np.asarray(ids).reshape(-1).tolist()[first]), 80)
        pairs = f"{len(either):,} of {len(lost[0]):,} pairs {'has' if len(either) == 1 else 'have'} an unknown id"
        return f"{pairs}: {found} is no {side}"

    def holds(self, row: str, col: str) -> bool:
        """Whether one of two texts is the id of a row, or of a column, as the place in a pair says."""
        if self._row_ids is None:
            return row.isdecimal() or col.isdecimal()
        return bool(self._found("row", [row])[0] >= 0 or self._found("col", [col])[0] >= 0)

    def top_n(self, row: Any, n: int = 10, *, without: ArrayLike = ()) -> list[tuple[Any, float]]:
        """The columns with the largest predictions for a row, and these, from the largest.

        Predictions that clipping would make equal are told apart by what they were before.

        Args:
            row: Id of the row.
            n: How many; fewer where there are no more.
            without: Ids of columns that are left out, such as those that the row has ratings for.

        Raises:
            ValueError: If the id is not among those learned from, or ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1. Found {n}.")
        place = int(self._found("row", [row])[0])
        if place < 0:
            raise ValueError(f"The row must be one of those that were learned from. Found {row!r}.")
        scores = (self._left[place].double() @ self._right.double()).numpy()
        left_out = self._found("col", without)
        scores[left_out[left_out >= 0]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:n]
        best = best[np.isfinite(scores[best])]
        values = scores[best] if self._limits is None else scores[best].clip(*self._limits)
        names = best.tolist() if self._col_ids is None else [self._col_ids[col] for col in best]
        return list(zip(names, values.tolist(), strict=True))

    def as_ids(self, texts: Sequence[str]) -> list[Any]:
        """Ids as they are asked for, of texts: the texts themselves, or numbers from 0.

        Raises:
            ValueError: If a text is no number where ids are numbers.
        """
        if self._row_ids is not None:
            return list(texts)
        for text in texts:
            if not text.isdecimal():
                raise ValueError(f"The ids of this run are numbers from 0. Found {text!r}.")
        return [int(text) for text in texts]

    def _found(self, side: str, ids: ArrayLike) -> NDArray[np.int64]:
        names = self._row_ids if side == "row" else self._col_ids
        size = self._left.shape[0] if side == "row" else self._right.shape[1]
        given = np.asarray(ids).reshape(-1)
        if names is None:
            if given.dtype.kind not in "iu" and len(given):
                raise ValueError(f"The ids of {side}s are numbers from 0 here. Found {given[0]!r}.")
            places = given.astype(np.int64)
            return np.where((places >= 0) & (places < size), places, -1)
        if side not in self._places:
            self._places[side] = {name: place for place, name in enumerate(names)}
        known = self._places[side]
        return np.array([known.get(str(name), -1) for name in given.tolist()], dtype=np.int64)
