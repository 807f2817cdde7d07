"""Ratings as the observed entries of a matrix, a part of them held out of training."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from eckart.data.files.triplets import Triplets, read_triplets
from eckart.linalg.checks import require_different, require_one_of
from eckart.linalg.entries import Entries

_HELD_OUT = 0.1
# Bytes that a rating takes while a member of a stack is trained on it.
_BYTES = 80


class RatingsData(LightningDataModule):
    """Ratings from a file, as lists; no array of the shape of the matrix is ever made.

    Args:
        path: The file; see :func:`eckart.data.files.triplets.read_triplets`.
        columns: Names of the columns of a table: row, column, rating; None finds them.
        duplicates: What is done with two ratings of one pair: ``refuse``, ``mean`` or ``last``, the last in the file.
        folds: Number of folds that the ratings are divided into, at random; None for none.
        fold: The fold that is held out, from 0.
        test: Share of the ratings that is held out; None for 0.1, or for a fold where there are folds; 0 for none.
        split: Seed that draws what is held out. It is not the seed of the run, so that runs can be compared.

    Attributes:
        held_out: Ratings that training does not see.
        row_ids: Text of the id of each row.
        col_ids: Text of the id of each column.
        names: What the file calls rows and columns.
        image: None: a row is no image.

    Raises:
        ValueError: For a setting out of its range.
    """

    image = None

    def __init__(
        self,
        path: str,
        *,
        columns: Sequence[str] | None = None,
        duplicates: str = "refuse",
        folds: int | None = None,
        fold: int = 0,
        test: float | None = None,
        split: int = 0,
    ) -> None:
        super().__init__()
        require_one_of("duplicates", duplicates, ("refuse", "mean", "last"))
        if folds is not None and test is not None:
            raise ValueError(f"data.test is for ratings without folds. Found data.folds={folds} and data.test={test}.")
        if folds is not None and not (isinstance(folds, int) and folds >= 2):
            raise ValueError(f"data.folds must be at least 2. Found {folds}.")
        if not 0 <= fold < (folds or 1):
            law = f"from 0 to {folds - 1}" if folds else "0 where there are no folds"
            raise ValueError(f"data.fold must be {law}. Found {fold}.")
        if test is not None and not (isinstance(test, int | float) and 0 <= test < 1):
            raise ValueError(f"data.test must be a share of at least 0 and below 1. Found {test}.")
        if split < 0 or split >= 2**32:
            raise ValueError(f"data.split must be from 0 to 2^32 - 1. Found {split}.")
        if columns is not None and not (isinstance(columns, list | tuple) or hasattr(columns, "__iter__")):
            raise ValueError(f"data.columns must be a list of three names. Found {columns!r}.")
        self._path, self._duplicates = Path(path), duplicates
        self._columns = None if columns is None else tuple(map(str, columns))
        self._folds, self._fold, self._test, self._split = folds, fold, test, split

    def setup(self, stage: str | None = None) -> None:
        """Read the file and divide its ratings."""
        # Jobs of a sweep over folds read it once.
        found = _read(str(self._path), self._path.stat().st_mtime_ns if self._path.is_file() else 0, self._columns)
        chosen, entries = distinct(found, self._duplicates)
        hidden = self._hidden(len(entries))[chosen]
        self.row_ids, self.col_ids = found.row_ids, found.col_ids
        self._entries, self.held_out = entries[~hidden], entries[hidden]
        user, item, rating = found.names
        self.names = user, item
        seen = f"{len(self._entries):,} ratings seen"
        self.how = (
            f"known on {seen}, and as RMSE and MAE on {len(self.held_out):,} held out"
            if hidden.any()
            else (f"known on the {seen}")
        )
        self.how += f"; columns {user}, {item}, {rating}"

    def supply(self, needs: str) -> dict[str, Any]:
        """The ratings that training sees; there is nothing else that it could be built from.

        Raises:
            ValueError: If ``needs`` is not ``entries``, or what is seen cannot be learned from.
        """
        if needs != "entries":
            raise ValueError("data=ratings has some entries only, for method=completion. Found another method.")
        require_different(self._entries.value)
        return {"entries": self._entries}

    def bytes(self) -> int:
        """Memory that a member of a stack takes, estimated."""
        return _BYTES * (len(self._entries) + len(self.held_out))

    def _hidden(self, count: int) -> torch.Tensor:
        """Which ratings are held out, in the order of the file."""
        hidden = np.zeros(count, dtype=bool)
        if self._folds is not None:
            if count < self._folds:
                raise ValueError(f"data.folds must be at most the number of ratings, {count}. Found {self._folds}.")
            # As scikit-learn's KFold draws them, so that others can be compared on the same folds.
            order = np.random.RandomState(self._split).permutation(count)
            sizes = np.full(self._folds, count // self._folds)
            sizes[: count % self._folds] += 1
            start = int(sizes[: self._fold].sum())
            hidden[order[start : start + sizes[self._fold]]] = True
        else:
            share = _HELD_OUT if self._test is None else self._test
            most = round(share * count)
            if self._test and not most:
                raise ValueError(f"data.test must hold out a rating. Found {self._test} of {count} ratings.")
            hidden[np.random.RandomState(self._split).permutation(count)[:most]] = True
        if hidden.all():
            raise ValueError(f"There must be ratings left to learn from. Found all {count} held out.")
        return torch.from_numpy(hidden)


@lru_cache(maxsize=1)
def _read(path: str, changed: int, columns: tuple[str, ...] | None) -> Triplets:
    return read_triplets(path, columns)


def distinct(found: Triplets, duplicates: str) -> tuple[torch.Tensor, Entries]:
    """Ratings with one for each pair, in row-major order.

    Args:
        found: Ratings in the order of the file.
        duplicates: What is done with two ratings of one pair: ``refuse``, ``mean`` or ``last``.

    Returns:
        The number of each in the order of the file, from 0, and the ratings.

    Raises:
        ValueError: If two are refused; it names the first that comes up twice.

    Example:
        >>> found = Triplets(*(np.array(part) for part in ([1, 0, 1], [0, 0, 0], [1.0, 2.0, 4.0])), ["a", "b"], ["c"],
        ...                  ("user", "item", "rating"))
        >>> distinct(found, "mean")[1].value, distinct(found, "last")[0]
        (tensor([2.0000, 2.5000], dtype=torch.float64), tensor([0, 1]))
        >>> distinct(found, "refuse")
        Traceback (most recent call last):
        ValueError: A pair must have one rating; data.duplicates=mean or last takes more. Found two of user b, item c.
    """
    place = found.row.astype(np.int64) * found.shape[1] + found.col
    order = np.argsort(place, kind="stable")
    place, value = place[order], found.value[order]
    again = np.flatnonzero(place[1:] == place[:-1]) + 1
    if len(again):
        if duplicates == "refuse":
            first, (user, item, _) = order[again].min(), found.names
            pair = f"{user} {found.row_ids[found.row[first]]}, {item} {found.col_ids[found.col[first]]}"
            law = "A pair must have one rating; data.duplicates=mean or last takes more"
            raise ValueError(f"{law}. Found two of {pair}.")
        starts = np.ones(len(place), dtype=bool)
        starts[again] = False
        first_of = np.flatnonzero(starts)
        last_of = np.append(first_of[1:], len(place)) - 1
        means = duplicates == "mean"
        value = np.add.reduceat(value, first_of) / (last_of - first_of + 1) if means else value[last_of]
        place, order = place[first_of], order[last_of]
        # Numbers of those that are kept, in the order of the file.
        order = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    row, col = np.divmod(place, found.shape[1])
    entries = Entries(torch.from_numpy(row), torch.from_numpy(col), torch.from_numpy(value), found.shape)
    return torch.from_numpy(order), entries
