"""Observed entries in the order of rows and in that of columns, for loops that are compiled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eckart.linalg.entries import Entries

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """The entries of one matrix, row by row.

    Attributes:
        start: Place of the first entry of each row, and the number of entries, int64, shape ``(m + 1,)``.
        col: Column of each entry, int32, shape ``(N,)``.
        value: Its value, shape ``(N,)``.
    """

    start: Array
    col: Array
    value: Array

    @classmethod
    def both(cls, entries: Entries, value: Array) -> tuple["Layout", "Layout"]:
        """The entries by rows, and the same of the transpose: by columns.

        Args:
            entries: The entries, in row-major order.
            value: Values to take in place of theirs, shape ``(N,)``.

        Example:
            >>> import torch
            >>> entries = Entries.of_matrix(torch.tensor([[1.0, 2.0], [torch.nan, 4.0]]))
            >>> rows, cols = Layout.both(entries, entries.value.numpy())
            >>> rows.start, rows.col, cols.start, cols.col, cols.value
            (array([0, 2, 3]), array([0, 1, 1], dtype=int32), array([0, 1, 3]), array([0, 0, 1], dtype=int32),
             array([1., 2., 4.], dtype=float32))
        """
        from scipy import sparse

        start = np.zeros(entries.shape[0] + 1, dtype=np.int64)
        np.cumsum(entries.counts()[0].numpy(), out=start[1:])
        by_row = cls(start, entries.col.numpy().astype(np.int32), value)
        # SciPy's conversion is a counting sort: linear, and with nothing stored beside its result.
        turned = sparse.csr_array((value, by_row.col, start.astype(np.int32)), shape=entries.shape).tocsc()
        return by_row, cls(turned.indptr.astype(np.int64), turned.indices, turned.data)

    @property
    def counts(self) -> Array:
        """Number of entries of each row, shape ``(m,)``."""
        return np.diff(self.start)
