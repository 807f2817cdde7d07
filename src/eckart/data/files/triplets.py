"""Ratings from files: triplets of ids and a number, read in parts, and sparse matrices; nothing dense on the way."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eckart.data.files import sparse_files, tables
from eckart.data.files.ids import Ids
from eckart.data.files.reading import require_readable
from eckart.printable import printable

MOST = 2**31 - 1
"""Ratings of a file at most."""

SPARSE = {
    ".mtx": sparse_files.read_matrix_market,
    ".mtx.gz": sparse_files.read_matrix_market,
    ".npz": sparse_files.read_npz,
}
TABLES = {".csv": tables.csv_parts, ".tsv": tables.tsv_parts, ".parquet": tables.parquet_parts}


@dataclass(frozen=True)
class Triplets:
    """Ratings in the order of their file.

    Attributes:
        row: Row of each, int32, shape ``(N,)``.
        col: Column of each, int32, shape ``(N,)``.
        value: The rating, float64, shape ``(N,)``.
        row_ids: Text of the id of each row: sorted, as numbers where all are whole numbers.
        col_ids: The same of each column.
        names: What the file calls row, column and rating.
    """

    row: NDArray[np.int32]
    col: NDArray[np.int32]
    value: NDArray[np.float64]
    row_ids: list[str]
    col_ids: list[str]
    names: tuple[str, str, str]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.row_ids), len(self.col_ids)


def read_triplets(path: str | Path, columns: Sequence[str] | None = None) -> Triplets:
    r"""Read ratings; the format follows the file name's extension.

    Tables (``.csv``, ``.tsv``, ``.parquet``) have a column of row ids, one of column ids and one of ratings. They are
    read in parts, so that beside the ratings themselves little memory is taken, and a file that takes long shows its
    progress. Sparse matrices (``.mtx``, ``.mtx.gz``, SciPy's ``.npz``) have the ratings as stored entries; the ids are
    their indices, from 1 in Matrix Market files and from 0 in SciPy's.

    Args:
        path: The file.
        columns: Names of the three columns of a table; None takes those that are called user, item and rating, or
            something like it, and else the first three. The columns of a table whose first line has a number in it
            are called 1, 2, 3, …

    Returns:
        The ratings. An id is its text: 7 and 07 are two.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the extension is unknown, the file is damaged, a column does not exist, an id is missing, or a
            rating is missing, no number, NaN or infinite. One line, naming the file and the place.

    Example:
        >>> path = getfixture("tmp_path") / "ratings.csv"
        >>> _ = path.write_text("user,item,rating\nanna,7,5\nbert,7,3.5\nanna,12,1\n")
        >>> found = read_triplets(path)
        >>> found.row_ids, found.col_ids, found.row, found.col, found.value
        (['anna', 'bert'], ['7', '12'], array([0, 1, 0], dtype=int32), array([0, 0, 1], dtype=int32),
         array([5. , 3.5, 1. ]))
    """
    file = Path(path)
    name = repr(str(file))
    require_readable(file, name)
    extension = ".mtx.gz" if file.name.lower().endswith(".mtx.gz") else file.suffix.lower()
    try:
        if extension in SPARSE:
            if columns is not None:
                raise ValueError(f"columns is for tables: {', '.join(TABLES)}. Found columns={list(columns)}.")
            with warnings.catch_warnings(action="ignore"):
                return _sparse(*SPARSE[extension](file))
        if extension not in TABLES:
            law = f"the extension must be one of {', '.join([*TABLES, *SPARSE])}"
            raise ValueError(f"{law}. Found {extension!r}.")
        names, parts = TABLES[extension](file, columns)
        return _collected(names, parts)
    # Parsers of damaged files fail in many ways.
    except Exception as error:
        found = str(error)
        if type(error) is not ValueError:
            first = (found.splitlines() or [""])[0]
            found = f"the file must be a sound {extension} file. Found {type(error).__name__}: {first}"
        raise ValueError(f"Cannot read {name}: {printable(found, 400)}") from error


def _collected(names: tuple[str, str, str], parts: Iterator[tuple[Any, Any, NDArray[np.float64]]]) -> Triplets:
    row_ids, col_ids = Ids(), Ids()
    rows, cols, values, count = [], [], [], 0
    for row, col, value in parts:
        rows.append(row_ids.codes(row))
        cols.append(col_ids.codes(col))
        values.append(value)
        count += len(value)
        _require_count(count)
    if not count:
        raise ValueError("there must be a rating. Found none.")
    row_order, col_order = row_ids.order(), col_ids.order()
    value = _joined(values, np.float64)
    row, col = row_order.place[_joined(rows, np.int32)], col_order.place[_joined(cols, np.int32)]
    return Triplets(row, col, value, row_order.texts, col_order.texts, names)


def _joined(parts: list[Any], dtype: Any) -> Any:
    whole, done = np.empty(sum(map(len, parts)), dtype=dtype), 0
    while parts:
        # A part is let go once it is copied.
        part = parts.pop(0)
        whole[done : done + len(part)] = part
        done += len(part)
    return whole


def _sparse(row: Any, col: Any, value: Any, shape: tuple[int, int], first: int) -> Triplets:
    _require_count(len(value))
    if not len(value):
        raise ValueError("there must be a rating. Found none.")
    value = np.asarray(value, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(value))
    if len(broken):
        place = int(broken[0])
        where = f"row {row[place] + first}, column {col[place] + first}, counted from {first}"
        raise ValueError(f"a rating must be finite. Found {value[place]} in {where}.")
    row_ids, col_ids = ([str(place) for place in range(first, size + first)] for size in shape)
    places = np.asarray(row, dtype=np.int32), np.asarray(col, dtype=np.int32)
    return Triplets(*places, value, row_ids, col_ids, ("row", "column", "entry"))


def _require_count(count: int) -> None:
    if count > MOST:
        raise ValueError(f"there must be at most {MOST} ratings. Found more.")
