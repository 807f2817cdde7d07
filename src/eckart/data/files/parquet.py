"""Parquet: a table of numbers, one column of the file for each column of the matrix, read in blocks of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eckart.data.files import limits
from eckart.data.files.raw import BLOCK, dtype_of


class TableRows:
    """A matrix T that is a table. Its blocks are read one after the other, for a table is unpacked from its beginning.

    Args:
        path: The file.
        file: The same, opened by pyarrow.
        dtype: What holds the numbers of every column.
    """

    def __init__(self, path: Path, file: Any, dtype: torch.dtype) -> None:
        self.name, self.dtype = repr(str(path)), dtype
        self.shape = int(file.metadata.num_rows), int(file.metadata.num_columns)
        self.height = max(1, min(self.shape[0], BLOCK // (self.shape[1] * dtype.itemsize)))
        self._file, self._place = file, 0
        self._batches: Iterator[Any] = iter(())
        self._left: Any = None

    def read(self, first: int, out: Tensor) -> None:
        """Read ``len(out)`` rows from ``first`` on, the row that the last block ended before or the first of all."""
        if first == 0:
            self._batches, self._left, self._place = self._file.iter_batches(batch_size=self.height), None, 0
        assert first == self._place
        target, done = out.numpy(), 0
        while done < len(target):
            if self._left is None:
                self._left = next(self._batches, None)
                if self._left is None:
                    raise ValueError(f"Cannot read {self.name}: the file must hold {self.shape[0]} rows. Found fewer.")
            count = min(len(target) - done, self._left.num_rows)
            for place, column in enumerate(self._left.columns):
                part = column.slice(0, count)
                # A missing entry is NaN, and refused like one.
                target[done : done + count, place] = part.to_numpy(zero_copy_only=False)
            self._left = self._left.slice(count) if count < self._left.num_rows else None
            done += count
        self._place += done


def open_parquet(path: Path, key: str | None) -> tuple[TableRows, bool]:
    """The table of a Parquet file; it is T itself.

    Raises:
        ModuleNotFoundError: If pyarrow is not installed.
        ValueError: If a column is not of numbers, or the table declares far more than the file can hold.
    """
    import pyarrow.parquet as pq
    from pyarrow import types

    file = pq.ParquetFile(path)
    letters = {
        "f": types.is_floating,
        "i": types.is_signed_integer,
        "u": types.is_unsigned_integer,
        "b": types.is_boolean,
    }
    kinds = []
    for field in file.schema_arrow:
        letter = next((letter for letter, holds in letters.items() if holds(field.type)), None)
        if letter is None:
            raise ValueError(f"every column must hold real numbers. Found column {field.name!r} of type {field.type}.")
        # A bit of Arrow is a byte of NumPy.
        kinds.append(dtype_of(np.dtype(f"{letter}{-(-field.type.bit_width // 8)}").name))
    dtype = torch.float32 if kinds and all(kind == torch.float32 for kind in kinds) else torch.float64
    rows, cols = file.metadata.num_rows, file.metadata.num_columns
    limits.require_matrix((rows, cols))
    declared = sum(file.metadata.row_group(place).total_byte_size for place in range(file.metadata.num_row_groups))
    stored = path.stat().st_size
    limits.require_stored(max(declared, rows * cols * (dtype.itemsize if not declared else 1)), stored)
    return TableRows(path, file, dtype), False
